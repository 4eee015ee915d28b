"""Which servers to leave alone for a while, kept over a restart."""

from __future__ import annotations

from dataclasses import dataclass

from conduitstore.codec.keys import check_u64
from conduitstore.codec.records import Record, pack_record, unpack_record
from conduitstore.errors import CorruptedError
from conduitstore.parts.part import Near, Part, TreeOf, atomic
from conduitstore.schema import TREES
from conduitstore.types import ServerName

FIRST_MS = 30_000
LONGEST_MS = 24 * 60 * 60 * 1000

_SERVER = TREES["servername_backoff"].key.pack


@dataclass(frozen=True, kw_only=True)
class Failures(Record):
    """How sending to a server failed lately.

    Attributes:
        total: how many times in a row.
        last_ms: when the last one was, Unix milliseconds.
    """

    total: int
    last_ms: int

    @property
    def retry_ms(self) -> int:
        """Not before this: half a minute after one failure, growing with the square, a day most."""
        return self.last_ms + min(FIRST_MS * self.total**2, LONGEST_MS)


class Backoff(Part[Near]):
    """Tree: ``servername_backoff``, with a row for each server that fails.

    The idea is tuwunel's, in ``servername_status``; the layout is ours. A row that does not decode
    counts as none: it is worth nothing.
    """

    _failures = TreeOf("servername_backoff")

    @atomic
    def record_failure(self, server: ServerName, now_ms: int) -> Failures:
        """Note that sending to a server failed; gives how long to leave it alone.

        Source: tuwunel, record_attempt.
        """
        before = self.failures(server)
        total = 1 if before is None else before.total + 1
        after = Failures(total=total, last_ms=check_u64(now_ms))
        self._failures.put(_SERVER(server), pack_record(after))
        return after

    def record_success(self, server: ServerName) -> None:
        """Forget a server's failures. Source: tuwunel, record_success."""
        key = _SERVER(server)
        if self._failures.contains_key(key):  # It rarely is: no commit for nothing.
            self._failures.put(key, None)

    def failures(self, server: ServerName) -> Failures | None:
        """How sending to a server failed lately; None when it did not."""
        value = self._failures.get(_SERVER(server))
        return None if value is None else _unpack(value)

    @atomic
    def forget_before(self, time_ms: int) -> int:
        """Drop what failed last before a time; gives how many servers that were.

        Cost: one pass over the servers that fail.
        """
        check_u64(time_ms)
        found = [(key, _unpack(value)) for key, value in self._failures]
        old = [key for key, failures in found if failures is None or failures.last_ms < time_ms]
        for key in old:
            self._failures.put(key, None)
        return len(old)


def _unpack(value: bytes) -> Failures | None:
    try:
        return unpack_record("servername_backoff", value, Failures)
    except CorruptedError:
        return None
