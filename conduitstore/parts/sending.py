"""The outgoing queues: what goes to other servers, to push gateways and to appservices.

- What is queued *waits*; what is being sent is *active*, and is sent again after a restart. Nothing
  is ever both.
- A PDU's row says only where in the timeline the event is; an EDU's holds the EDU.
- EDUs chosen at the moment of sending become active in the commit that moves the server's EDU
  count, so that a crash loses none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from conduitstore.codec.keys import check_u64
from conduitstore.codec.values import (
    EMPTY,
    pack_json_object,
    pack_u64,
    unpack_json_object,
    unpack_u64,
)
from conduitstore.errors import CorruptedError, InvalidArgumentError
from conduitstore.kv import Item, Tree, check_limit, prefix_end
from conduitstore.parts.arguments import listed
from conduitstore.parts.part import Near, Part, TreeOf, atomic
from conduitstore.schema import TREES
from conduitstore.types import (
    Count,
    Destination,
    FederationServer,
    JsonObject,
    PduId,
    ServerName,
)

_QUEUED = TREES["servernameevent_data"].key
_SERVER = TREES["servername_educount"].key.pack


@dataclass(frozen=True, slots=True)
class QueuedItem:
    """One row of a queue.

    Attributes:
        item: where the event is in the timeline, or the count of an EDU. An event of a room that
            was purged meanwhile is not there any more: forget the row.
        edu: the EDU; None for an event.
    """

    destination: Destination
    item: PduId | Count
    edu: JsonObject | None = None


class Sending(Part[Near]):
    """Trees: ``servernameevent_data`` waits, ``servercurrentevent_data``; ``servername_educount``.

    A row that does not decode is left out of every list, so that it holds up nobody;
    ``conduitstore check`` names it.
    """

    _waiting = TreeOf("servernameevent_data")
    _active = TreeOf("servercurrentevent_data")
    _edu_counts = TreeOf("servername_educount")

    # Queueing -----------------------------------------------------------------------------------
    @atomic
    def queue_pdus(self, pdus: Iterable[tuple[Destination, PduId]]) -> list[QueuedItem]:
        """Queue events of the timeline, one row for each destination, in one commit.

        One that waits or is being sent already is not queued twice.
        Source: Conduit, queue_requests.
        """
        given = listed(pdus, "events")
        items = [QueuedItem(destination, _pdu_id(pdu_id)) for destination, pdu_id in given]
        for item in items:
            key = _key(item)
            if not self._active.contains_key(key):
                self._waiting.put(key, EMPTY)
        return items

    @atomic
    def queue_edus(self, edus: Iterable[tuple[Destination, JsonObject]]) -> list[QueuedItem]:
        """Queue EDUs, each at a count of its own, in one commit.

        Source: Conduit, queue_requests.
        """
        given = listed(edus, "EDUs")
        return [self._place(self._waiting, destination, edu) for destination, edu in given]

    def _place(self, tree: Tree, destination: Destination, edu: JsonObject) -> QueuedItem:
        value = pack_json_object(edu)
        item = QueuedItem(destination, self._near.globals.draw(), edu)
        tree.put(_key(item), value)
        return item

    # Sending ------------------------------------------------------------------------------------
    def waiting(self, destination: Destination, *, limit: int | None = None) -> list[QueuedItem]:
        """What waits for a destination, events and EDUs each in their order.

        Cost: one range. Source: Conduit, queued_requests.
        """
        rows = self._waiting.scan_prefix(_QUEUED.prefix(destination))
        return list(islice(_items(rows), check_limit(limit)))

    @atomic
    def mark_active(self, items: Sequence[QueuedItem]) -> list[QueuedItem]:
        """Move rows from waiting to active; gives those that were there to be moved.

        What was forgotten meanwhile, or is active by another thread's doing, stays as it is: send
        what this returns. Source: Conduit, mark_as_active.
        """
        return [item for item in listed(items, "rows") if self._move(_key(item))]

    def _move(self, key: bytes) -> bool:
        value = self._waiting.remove(key)
        if value is not None:
            self._active.put(key, value)
        return value is not None

    @atomic
    def select_edus(
        self, server: ServerName, edus: Iterable[JsonObject], since: Count, upto: Count
    ) -> list[QueuedItem] | None:
        """Make the EDUs of (since, upto] active and move the server's EDU count, in one commit.

        Args:
            server: where they go.
            edus: what was found for it after ``since``; may be empty.
            since: the server's EDU count as it was read.
            upto: its new one.

        Returns:
            The rows to send; None where another thread has moved the count, so that these EDUs, or
            some, are active already.

        Source: Conduit, set_latest_educount, whose EDUs were in memory only; tuwunel,
        persist_active_edus.
        """
        if check_u64(upto) < check_u64(since):
            raise InvalidArgumentError(f"an EDU count does not go back from {since} to {upto}")
        if self.latest_edu_count(server) != since:
            return None
        self._edu_counts.put(_SERVER(server), pack_u64(upto))
        return [
            self._place(self._active, FederationServer(server), edu) for edu in listed(edus, "EDUs")
        ]

    def latest_edu_count(self, server: ServerName) -> Count:
        """Up to which count EDUs were selected for a server; 0 if never.

        Source: Conduit, get_latest_educount.
        """
        value = self._edu_counts.get(_SERVER(server))
        return Count(0 if value is None else unpack_u64("servername_educount", value))

    def active(self, destination: Destination) -> list[QueuedItem]:
        """What is being sent to a destination. Source: Conduit, active_requests_for."""
        return list(_items(self._active.scan_prefix(_QUEUED.prefix(destination))))

    @atomic
    def forget_active(self, items: Iterable[QueuedItem]) -> int:
        """Drop rows that were sent; gives how many. Source: Conduit, delete_active_request."""
        return sum([self._active.remove(_key(item)) is not None for item in listed(items, "rows")])

    @atomic
    def forget_all_active(self, destination: Destination) -> int:
        """Drop all that was being sent to a destination, after it took it; gives how many rows.

        Source: Conduit, delete_all_active_requests_for.
        """
        return self._active.remove_prefix(_QUEUED.prefix(destination))

    @atomic
    def forget_all(self, destination: Destination) -> int:
        """Drop the queue of a destination that is gone, active rows too; gives how many.

        Source: Conduit, delete_all_requests_for.
        """
        prefix = _QUEUED.prefix(destination)
        return self._active.remove_prefix(prefix) + self._waiting.remove_prefix(prefix)

    # Starting -----------------------------------------------------------------------------------
    def all_active(self) -> list[QueuedItem]:
        """What was being sent when the server stopped, to be sent again, by destination.

        Conduit keeps 30 rows of each destination and drops the rest; here none is lost, and there
        are as many as were ever marked active at a time. Source: Conduit, active_requests.
        """
        return list(_items(self._active))

    def destinations(self) -> list[Destination]:
        """Where something waits to be sent to. Cost: one step for each, however long its queue."""
        return [*_destinations(self._waiting)]


def _key(item: QueuedItem) -> bytes:
    if not isinstance(item, QueuedItem):
        raise InvalidArgumentError(f"a row of a queue is needed, not {type(item).__name__}")
    return _QUEUED.pack(item.destination, item.item)


def _pdu_id(pdu_id: PduId) -> PduId:
    if not isinstance(pdu_id, PduId):
        raise InvalidArgumentError(f"an event is queued by its PduId, not {type(pdu_id).__name__}")
    return pdu_id


def _items(rows: Iterable[Item]) -> Iterator[QueuedItem]:
    for key, value in rows:
        try:
            destination, item = _QUEUED.unpack(key)
            yield QueuedItem(destination, item, _edu(item, value))
        except CorruptedError:
            continue


def _edu(item: PduId | int, value: bytes) -> Any:
    if isinstance(item, PduId) and not value:
        return None
    return unpack_json_object("servernameevent_data", value)


def _destinations(tree: Tree) -> Iterator[Destination]:
    key = next(tree.keys(limit=1), None)
    while key is not None:
        try:
            destination = _QUEUED.unpack(key)[0]
        except CorruptedError:
            after = key + b"\0"
        else:
            yield destination
            after = prefix_end(_QUEUED.prefix(destination)) or key
        key = next(tree.keys(start=after, limit=1), None)
