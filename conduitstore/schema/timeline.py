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
         "public read receipts by count, one per user and room or thread",
         worth="shared", gone="the user's next receipt; purging the room"),
    tree("roomuserthreadid_readreceiptid", "room ff user ff thread:text", "count:u64 event",
         "receipts",
         "the count and event of a user's receipt, no thread = whole room; ours, so that the old "
         "one is a point read",
         worth="derived", gone="purging the room", ours=True),
    tree("roomuserid_privateread", "room ff user", "u64", "receipts",
         "the count of the event a user read up to, unseen by others",
         worth="primary", gone="purging the room"),
    tree("roomuserid_lastprivatereadupdate", "room ff user", "u64", "receipts",
         "when that marker moved",
         worth="primary", gone="purging the room"),
    tree("roomuserthreadid_privateread", "room ff user ff thread", "read_upto:u64 moved:u64",
         "receipts",
         "both for a thread; ours, where a fork lengthens the keys of the whole room's marker",
         worth="primary", gone="purging the room", ours=True),

    tree("presenceid_presence", "count:u64 user", "json", "presence",
         "the presence of a user: state, currently_active, last_active_ts, status_msg; the forks' "
         "key and value, where Conduit keeps a row for each room",
         worth="disposable", gone="the user's next presence; forgetting all at start"),
    tree("userid_presenceid", "user", "u64", "presence",
         "the count of a user's presence",
         worth="disposable", gone="forgetting all at start", ours=True),
    tree("userid_lastpresenceupdate", "user", "u64", "presence",
         "when a user last did something, Unix milliseconds",
         worth="disposable", gone="forgetting all at start"),

    tree("userroomid_notificationcount", "user ff room", "u64", "user_counters",
         "unread events of a room that notify the user, outside threads",
         worth="primary", gone="reading the room; purging it"),
    tree("userroomid_highlightcount", "user ff room", "u64", "user_counters",
         "those among them that are highlighted",
         worth="primary", gone="reading the room; purging it"),
    tree("userroomthreadid_notificationcount", "user ff room ff thread", "u64", "user_counters",
         "the same of a thread; ours, where a fork lengthens the keys of the room's counters",
         worth="primary", gone="reading the room or the thread; purging the room", ours=True),
    tree("userroomthreadid_highlightcount", "user ff room ff thread", "u64", "user_counters",
         "those among them that are highlighted",
         worth="primary", gone="reading the room or the thread; purging the room", ours=True),
    tree("roomuserid_lastnotificationread", "room ff user", "u64", "user_counters",
         "when a user last reset counters of a room; a tree of its own, where Conduit writes "
         "among the highlights",
         worth="primary", gone="purging the room"),
]  # fmt: skip
