"""Events out of the rows that hold them: of a timeline, and outside of any."""

from __future__ import annotations

from conduitstore.codec.positions import position_in
from conduitstore.codec.values import unpack_json, unpack_json_object
from conduitstore.errors import CorruptedError
from conduitstore.types import EventId, StoredEvent


def event_in(key: bytes, value: bytes) -> StoredEvent:
    """Of ``pduid_pdu``."""
    pdu = unpack_json("pduid_pdu", value)
    try:
        return StoredEvent(position_in(key), pdu["event_id"], pdu)
    except (TypeError, LookupError):
        raise CorruptedError("pduid_pdu", 0, "the value is no JSON object with event_id") from None


def placed_in(key: bytes, value: bytes | None) -> StoredEvent | None:
    """Likewise, where there may be no such row."""
    return None if value is None else event_in(key, value)


def outlier_in(key: bytes, value: bytes | None) -> StoredEvent | None:
    """Of ``eventid_outlierpdu``, where there may be no such row."""
    if value is None:
        return None
    return StoredEvent(None, EventId(key.decode()), unpack_json_object("eventid_outlierpdu", value))
