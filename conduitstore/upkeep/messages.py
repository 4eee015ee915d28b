"""Old messages, forgotten room by room with all that was derived from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from conduitstore.kv import Database, Transaction
from conduitstore.parts.holder import Parts
from conduitstore.parts.rooms.retention import Purged, RetentionCursor
from conduitstore.tallied import Changes, tallied
from conduitstore.types import RoomId

EVENTS_AT_ONCE = 200
_EVENTS = "pduid_pdu"


def forget_messages(
    db: Database, before_ms: int, tell: Callable[[str, int, int], None], *, dry_run: bool
) -> None:
    """Purge every room of messages that say they are older than a time, Unix milliseconds.

    What a room needs stays, see :meth:`~conduitstore.parts.rooms.retention.MessageRetention.purge`.
    A dry run counts events, and not what goes with them.
    """
    for room in Parts(db).rooms.short.rooms():
        start: RetentionCursor | None = None
        while True:
            run = _count if dry_run else _purge
            looked_at, removed, start = run(db, room, max(0, before_ms), start)
            tell(_EVENTS, looked_at, 0)
            for tree, total in removed.items():
                tell(tree, 0, total)
            if start is None:
                break


_Done = tuple[int, dict[str, int], RetentionCursor | None]
"""Events looked at, rows removed by tree, and where to go on."""


def _count(db: Database, room: RoomId, before_ms: int, start: RetentionCursor | None) -> _Done:
    retention = Parts(db).rooms.retention
    old = retention.removable(room, before_ms, limit=EVENTS_AT_ONCE, start=start)
    return old.looked_at, {_EVENTS: len(old.events)}, old.next


def _purge(db: Database, room: RoomId, before_ms: int, start: RetentionCursor | None) -> _Done:
    changes: Changes = Counter()

    def purge(tx: Transaction) -> Purged:
        retention = Parts(tallied(tx, changes)).rooms.retention
        return retention.purge(room, before_ms, limit=EVENTS_AT_ONCE, start=start)

    purged = db.transaction(purge)
    removed = {tree: total for (tree, change), total in changes.items() if change == "removed"}
    return purged.looked_at, removed, purged.next
