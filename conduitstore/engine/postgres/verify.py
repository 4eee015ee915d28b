"""Reading everything there is, past what cannot be read.

The server knows of damage where a page's checksum or a value's pieces are wrong. A page of entries
that it cannot read is read in smaller ones, down to the entry, whose key alone is then passed over;
where that cannot be read either, the rest of the tree is one damage.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from conduitstore.errors import CorruptedError
from conduitstore.operations import Damage, OnRead

from .connections import Row
from .instant import Instant, Span

if TYPE_CHECKING:
    from .database import Store

ROWS = 512


def verify(db: Store, bytes_per_second: int | None, on_read: OnRead | None) -> Iterator[Damage]:
    """See :meth:`conduitstore.operations.Operations.verify`."""
    begun, read_bytes = time.monotonic(), 0
    with db.snapshot() as view:
        numbers = sorted(view.catalog.numbers.items())
    for name, number in numbers:
        for found in _tree(db, name, number):
            if isinstance(found, Damage):
                yield found
                continue
            read_bytes += found
            if on_read is not None:
                on_read(found)
            if bytes_per_second is not None:
                time.sleep(max(0.0, begun + read_bytes / bytes_per_second - time.monotonic()))


def _tree(db: Store, name: str, number: int) -> Iterator[int | Damage]:
    """Bytes that were read, and damages, in order."""
    low, rows_max = b"", ROWS
    while True:
        try:
            page = _page(db, number, low, rows_max, values=True)
        except CorruptedError as error:
            if rows_max > 1:
                rows_max = max(1, rows_max // 8)
                continue
            try:
                keys = _page(db, number, low, 2, values=False)
            except CorruptedError:
                yield _damage(number, name, low, None, error)
                return
            high = keys[1][0] if len(keys) > 1 else None
            yield _damage(number, name, keys[0][0] if keys else low, high, error)
            if high is None:
                return
            low, rows_max = high, ROWS
            continue
        if not page:
            return
        yield sum(len(key) + len(value) for key, value in page)
        low = page[-1][0] + b"\0"


def _page(db: Store, number: int, low: bytes, rows_max: int, *, values: bool) -> list[Row]:
    bounds = Span(number, low, None, None, values=values)
    asked = bounds.statement(bounds.lo, None, rows_max, reverse=False)
    _, (page,) = Instant.begin(db.pool, [asked])
    return page


def _damage(
    number: int, name: str, low: bytes, high: bytes | None, error: CorruptedError
) -> Damage:
    return Damage(f"table t_{number}", 0, 0, str(error), name, low or None, high)
