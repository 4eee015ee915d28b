"""Snapshots: a repeatable-read transaction that every handle of the snapshot reads in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Self, TypeVar, cast

from conduitstore import kv
from conduitstore.engine.reading import ReadTransaction
from conduitstore.engine.rows import Cursor
from conduitstore.engine.surface import FrozenSurface, prefix_bounds
from conduitstore.errors import ClosedError
from conduitstore.kv import (
    DEFAULT_TREE,
    Bounds,
    Durability,
    Item,
    check_bound,
    check_key,
    check_limit,
    check_ranges,
    check_tree_name,
)

from . import sql
from .catalog import Catalog
from .instant import Ends, Instant, Page, Span, Walk
from .ranges import Ranges

if TYPE_CHECKING:
    from .database import Store

T = TypeVar("T")


class FrozenTree(FrozenSurface):
    """A tree of a snapshot; empty where the snapshot has none of that name."""

    name = ""

    def __init__(self, snapshot: Snapshot, name: str) -> None:
        self._owner = snapshot
        self.name = name

    @property
    def _snapshot(self) -> Snapshot:
        return self._owner

    def _read(self) -> tuple[Instant, int | None]:
        return self._snapshot.instant(), self._snapshot.catalog.numbers.get(self.name)

    def get(self, key: bytes) -> bytes | None:
        instant, number = self._read()
        check_key(key)
        found = [] if number is None else instant.rows(sql.table(number).get, [key])
        value: bytes | None = found[0][0] if found else None
        return value

    def contains_key(self, key: bytes) -> bool:
        instant, number = self._read()
        check_key(key)
        return number is not None and bool(instant.rows(sql.table(number).has, [key])[0][0])

    def __contains__(self, key: bytes) -> bool:
        return self.contains_key(key)

    def get_many(self, keys: Iterable[bytes]) -> list[bytes | None]:
        instant, number = self._read()
        wanted = [check_key(key) for key in keys]
        if number is None or not wanted:
            return [None] * len(wanted)
        rows = instant.rows(sql.table(number).get_many, [list(set(wanted))])
        found = dict(cast("list[Item]", rows))
        return [found.get(key) for key in wanted]

    def ranges(
        self, bounds: Iterable[Bounds], *, reverse: bool = False, limit: int | None = None
    ) -> list[list[Item]]:
        instant, number = self._read()
        asked = Ranges(number, check_ranges(bounds), check_limit(limit), reverse=reverse)
        return asked.read(instant)

    def __len__(self) -> int:
        instant, number = self._read()
        return 0 if number is None else int(instant.rows(sql.table(number).total)[0][0])

    def range(
        self,
        lo: bytes | None = None,
        hi: bytes | None = None,
        *,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Cursor:
        found = self._walk(lo, hi, limit, reverse=reverse, values=True)
        return Cursor(*cast("Ends", (found.near(), found.far())))

    def keys(
        self,
        prefix: bytes = b"",
        *,
        reverse: bool = False,
        limit: int | None = None,
        start: bytes | None = None,
    ) -> Iterator[bytes]:
        lo, hi = prefix_bounds(prefix, start, reverse=reverse)
        found = self._walk(lo, hi, limit, reverse=reverse, values=False)
        return (row[0] for row in found.near())

    def _walk(
        self,
        lo: bytes | None,
        hi: bytes | None,
        limit: int | None,
        *,
        reverse: bool,
        values: bool,
    ) -> Page | Walk:
        instant, number = self._read()
        check_bound(lo)
        check_bound(hi)
        bounds = Span(number or 0, lo, hi, check_limit(limit), values=values)
        if number is None or bounds.is_empty:
            return Page([])
        page = instant.rows(*bounds.first(reverse=reverse))
        if bounds.is_whole(page, bounds.first_rows):
            return Page(page)
        return Walk(bounds, lambda: instant, reverse=reverse, first=page)


class Snapshot(FrozenTree):
    """See :class:`conduitstore.kv.Snapshot`."""

    def __init__(
        self, db: Store, instant: Instant, sequence: int, count: int, catalog: Catalog
    ) -> None:
        self._db = db
        self._instant: Instant | None = instant
        self.sequence = sequence
        self._count = count
        self.catalog = catalog
        self.name = DEFAULT_TREE

    @property
    def _snapshot(self) -> Snapshot:
        return self

    def instant(self) -> Instant:
        """What it reads in, if it may be read here and now."""
        self._db.check()
        if self._instant is None:
            raise ClosedError("the snapshot is closed")
        return self._instant

    def open_tree(self, name: str) -> FrozenTree:
        self.instant()
        return FrozenTree(self, check_tree_name(name))

    def tree_names(self) -> list[str]:
        self.instant()
        return sorted(self.catalog.numbers)

    def current_count(self) -> int:
        self.instant()
        return self._count

    def transaction(
        self,
        fn: Callable[[kv.Transaction], T],
        *,
        durability: Durability | None = None,
        read_only: bool = False,
    ) -> T:
        self.instant()
        if not read_only:
            self._refuse(durability)
        return ReadTransaction(self).transaction(fn)

    def close(self) -> None:
        self._instant = None  # Iterators that go on keep it.

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
