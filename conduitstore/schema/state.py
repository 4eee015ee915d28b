"""Trees of room state: the numbers that stand for long ids, and what is built of them."""

from conduitstore.schema.tree import tree

STATE = [
    tree("roomid_shortroomid", "room", "u64", "short", "a room's number",
         worth="numbering", gone="purging the room"),
    tree("eventid_shorteventid", "event", "u64", "short", "an event's number",
         worth="numbering", gone="purging its room"),
    tree("shorteventid_eventid", "short_event:u64", "text", "short", "and back",
         worth="derived", gone="purging its room"),
    tree("statekey_shortstatekey", "type:text ff state_key:text", "u64", "short",
         "the number of an event type with a state key",
         worth="numbering", gone="never: rooms share these numbers"),
    tree("shortstatekey_statekey", "short_state_key:u64", "type:text ff state_key:text", "short",
         "and back",
         worth="derived", gone="never: rooms share these numbers"),
]  # fmt: skip
