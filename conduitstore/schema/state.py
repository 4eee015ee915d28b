"""Trees of room state: the numbers that stand for long ids, and what is built of them."""

from conduitstore.schema.tree import tree

STATE = [
    tree("roomid_shortroomid", "room", "u64", "short", "a room's number",
         worth="numbering", gone="delete_room"),
    tree("shortroomid_room", "short_room:u64", "text", "short",
         "and back; ours, where others scan",
         worth="derived", gone="delete_room", ours=True),
    tree("eventid_shorteventid", "event", "u64", "short", "an event's number",
         worth="numbering", gone="rooms.timeline.remove delete_room"),
    tree("shorteventid_eventid", "short_event:u64", "text", "short", "and back",
         worth="derived", gone="rooms.timeline.remove delete_room"),
    tree("statekey_shortstatekey", "type:text ff state_key:text", "u64", "short",
         "the number of an event type with a state key",
         worth="numbering", gone="never: rooms share these numbers"),
    tree("shortstatekey_statekey", "short_state_key:u64", "type:text ff state_key:text", "short",
         "and back",
         worth="derived", gone="never: rooms share these numbers"),

    tree("statehash_shortstatehash", "state:hash", "u64", "state_compressor",
         "the number of a room state, by the hash over its sorted entries",
         worth="derived", gone="delete_room gc"),
    tree("shortstatehash_statediff", "short_state:u64", "state", "state_compressor",
         "room states: a parent, entries added to it, entries removed; both sorted here",
         worth="numbering", gone="delete_room gc"),
    tree("shorteventid_shortstatehash", "short_event:u64", "u64", "state",
         "the room state before an event",
         worth="numbering", gone="rooms.timeline.remove delete_room"),
    tree("roomid_shortstatehash", "room", "u64", "state", "a room's current state",
         worth="numbering", gone="delete_room"),
    tree("roomcount_shortstatehash", "short_room:u64 count:u64", "u64", "state",
         "which state a room had from a count on; ours, so that a sync finds that at its token",
         worth="primary", gone="delete_room", ours=True),
    tree("roomid_pduleaves", "room ff event", "text", "state",
         "forward extremities: events that no event names as previous",
         worth="derived", gone="rooms.append rooms.state.set_forward_extremities "
         "delete_room"),
    tree("shorteventid_authchain", "short_event:u64", "u64s", "auth_chain",
         "complete auth chains, as a cache",
         worth="disposable", gone="rooms.auth_chain.trim rooms.timeline.remove delete_room "
         "gc"),
]  # fmt: skip
