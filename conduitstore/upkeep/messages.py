"""Old messages, forgotten room by room with all that was derived from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from conduitstore.kv import Database, Transaction
from conduitstore.parts.holder import Parts
from conduitstore.parts.rooms.retention import Purged, RetentionCursor
from conduitstore.tallied import Changes, tallied
from conduitstore.types import RoomId

from .batches import tried

EVENTS_AT_ONCE = 200
_EVENTS = "pduid_pdu"


def forget_messages(
    db: Database, before_ms: int, tell: Callable[[str, int, int], None], *, dry_run: bool
) -> None:
    """Purge every room of messages that say they are older than a time, Unix milliseconds.

    What a room needs stays, see :meth:`~conduitstore.parts.rooms.retention.MessageRetention.purge`.
    """
    for room in Parts(db).rooms.short.rooms():
        start: RetentionCursor | None = None
        while True:
            purged, changes = _purge(db, room, max(0, before_ms), start, dry_run=dry_run)
            tell(_EVENTS, purged.looked_at, 0)
            for (tree, change), total in changes.items():
                if change == "removed":
                    tell(tree, 0, total)
            start = purged.next
            if start is None:
                break


def _purge(
    db: Database, room: RoomId, before_ms: int, start: RetentionCursor | None, *, dry_run: bool
) -> tuple[Purged, Changes]:
    changes: Changes = Counter()

    def purge(tx: Transaction) -> Purged:
        retention = Parts(tallied(tx, changes)).rooms.retention
        return retention.purge(room, before_ms, limit=EVENTS_AT_ONCE, start=start)

    return tried(db, purge) if dry_run else db.transaction(purge), changes
