"""Redacted events as they were, kept for moderators for a while."""

from __future__ import annotations

from conduitstore.codec.events import encode_pdu
from conduitstore.codec.keys import check_u64
from conduitstore.codec.values import EMPTY, unpack_json_object
from conduitstore.errors import InvalidArgumentError
from conduitstore.kv import check_limit
from conduitstore.parts.part import Near, Part, TreeOf, atomic
from conduitstore.schema import TREES
from conduitstore.types import EventId, JsonObject

_EVENT = TREES["eventid_originalpdu"].key.pack
_TIME = TREES["timeredacted_eventid"].key


class Originals(Part[Near]):
    """Trees: ``eventid_originalpdu``, and ``timeredacted_eventid`` in the order they expire."""

    _pdus = TreeOf("eventid_originalpdu")
    _times = TreeOf("timeredacted_eventid")

    @atomic
    def keep(self, event_id: EventId, pdu: JsonObject, redacted_s: int) -> bool:
        """Keep an event that is redacted now, Unix seconds; False where an earlier one is kept.

        Source: tuwunel, save_original_pdu.
        """
        value = encode_pdu(pdu, event_id)
        check_u64(redacted_s)
        key = _EVENT(event_id)
        if self._pdus.contains_key(key):
            return False
        self._pdus.put(key, value)
        self._times.put(_TIME.pack(redacted_s, event_id), EMPTY)
        return True

    def get(self, event_id: EventId) -> JsonObject | None:
        """The event as it was. Source: tuwunel, get_original_pdu."""
        value = self._pdus.get(_EVENT(event_id))
        return None if value is None else unpack_json_object("eventid_originalpdu", value)

    def forget(self, event_id: EventId) -> bool:
        """Drop one; False where none is kept. That it was redacted goes when its time comes."""
        return self._pdus.remove(_EVENT(event_id)) is not None

    @atomic
    def forget_until(self, redacted_s: int, limit: int = 1_000) -> int:
        """Drop up to ``limit`` of those redacted at or before a time; gives how many.

        Call it until it gives less than ``limit``. Cost: O(dropped).
        Source: tuwunel, purge_original.
        """
        if not check_limit(limit):
            raise InvalidArgumentError("drop 1 event or more")
        lo, hi = _TIME.counts(since=0, upto=redacted_s)
        first = _TIME.prefix(0)[:8]  # Those redacted in 1970 as well.
        keys = [key for key, _ in self._times.range(min(lo, first), hi, limit=limit)]
        for key in keys:
            self._times.put(key, None)
            self._pdus.put(_EVENT(_TIME.unpack(key)[1]), None)
        return len(keys)
