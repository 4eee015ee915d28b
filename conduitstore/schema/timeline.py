"""Trees of events and of what people do with them: timelines, receipts, and indexes over them."""

from conduitstore.codec.positions import PDU_ID
from conduitstore.schema.tree import tree

TIMELINE = [
    tree("pduid_pdu", PDU_ID.notation, "pdu", "timeline",
         "events by room and position; negative positions are backfilled",
         worth="shared", gone="purging the room, retention"),
    tree("eventid_pduid", "event", PDU_ID.notation, "timeline",
         "where in the timeline an event is",
         worth="derived", gone="with the event"),
    tree("eventid_outlierpdu", "event", "pdu", "timeline",
         "events known but in no timeline: needed for state or authorisation only",
         worth="shared", gone="the event's arrival in the timeline; purging its room"),

    tree("readreceiptid_readreceipt", "room ff count:u64 ff user", "json", "receipts",
         "public read receipts by count, one per user and room",
         worth="shared", gone="the user's next receipt; purging the room"),
    tree("roomuserid_readreceiptcount", "room ff user", "u64", "receipts",
         "the count of a user's receipt; ours, so that the old one is a point read",
         worth="derived", gone="purging the room", ours=True),
    tree("roomuserid_privateread", "room ff user", "u64", "receipts",
         "the count of the event a user read up to, unseen by others",
         worth="primary", gone="purging the room"),
    tree("roomuserid_lastprivatereadupdate", "room ff user", "u64", "receipts",
         "when that marker moved",
         worth="primary", gone="purging the room"),
]  # fmt: skip
