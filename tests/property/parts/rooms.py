"""Rooms, who is in them, and their states, as events make them."""

from dataclasses import dataclass, field

from conduitstore.upkeep import delete_room

from .base import ROOM_IDS, USER_IDS, Base, act

MEMBERSHIPS = ["join", "join", "invite", "leave", "ban", "knock"]


@dataclass
class Room:
    """What there is of a room."""

    events: dict = field(default_factory=dict)  # By id: (position, event).
    state: dict = field(default_factory=dict)
    members: dict = field(default_factory=dict)  # By user: membership, and since when.
    once_joined: set = field(default_factory=set)
    ends: set = field(default_factory=set)

    @property
    def timeline(self):
        """The ids in order."""
        return sorted(self.events, key=lambda event_id: self.events[event_id][0])

    def who(self, membership):
        return sorted(user for user, (is_now, _) in self.members.items() if is_now == membership)


class Rooms(Base):
    """Rooms by id. One that was deleted may come back, as another room of the same name."""

    def __init__(self):
        super().__init__()
        self.rooms = {}

    def populate(self):
        super().populate()
        for room in ROOM_IDS:
            self.create_room(room, USER_IDS[0])
            self.change_state(room, USER_IDS[0], "m.room.encryption")
        self.change_member(ROOM_IDS[0], USER_IDS[0], USER_IDS[1], "join")

    def event(self, room, sender, type, content, follows=None, **more):
        """An event that follows all ends of the room, or what is given."""
        n = self.number()
        ends = sorted(self.rooms[room].ends)
        return {
            "type": type,
            "room_id": room,
            "sender": sender,
            "content": content,
            "origin_server_ts": 1_000 * (1 + n % 5) + n,
            "depth": n,
            "prev_events": ends if follows is None else follows,
            "auth_events": [],
            "hashes": {},
            "signatures": {},
            **more,
        }

    def append(self, pdu, event_id=None):
        """Into the store and the model."""
        room, event_id = pdu["room_id"], event_id or f"${self.number()}"
        before = self.newest()
        position = self.do(lambda p: p.rooms.append(pdu, event_id, room))
        assert before < position <= self.newest()
        known = self.rooms[room]
        known.events[event_id] = (position, pdu)
        known.ends = known.ends - set(pdu["prev_events"]) | {event_id}
        if "state_key" in pdu:
            known.state[pdu["type"], pdu["state_key"]] = event_id
            if pdu["type"] == "m.room.member":
                self.follow(room, pdu["state_key"], pdu["content"]["membership"])
        return event_id

    def follow(self, room, user, membership):
        known = self.rooms[room]
        membership = "leave" if membership == "ban" else membership
        if membership == "join":
            known.once_joined.add(user)
            if known.members.get(user, ("", 0))[0] == "join":
                return
        known.members[user] = (membership, self.newest())

    @act(room=ROOM_IDS, user=USER_IDS)
    def create_room(self, room, user):
        if room not in self.rooms:
            self.rooms[room] = Room()
            self.append(self.event(room, user, "m.room.create", {}, state_key=""))
            self.change_member(room, user, user, "join")

    @act(room=ROOM_IDS, sender=USER_IDS, user=USER_IDS, membership=MEMBERSHIPS)
    def change_member(self, room, sender, user, membership):
        if room in self.rooms:
            content, who = {"membership": membership}, {"state_key": user}
            self.append(self.event(room, sender, "m.room.member", content, **who))

    @act(room=ROOM_IDS, user=USER_IDS)
    def forget(self, room, user):
        has_left = room in self.rooms and user in self.rooms[room].who("leave")
        assert self.do(lambda p: p.rooms.members.forget(user, room)) == has_left
        if has_left:
            del self.rooms[room].members[user]

    @act(room=ROOM_IDS, sender=USER_IDS, type=["m.room.name", "m.room.encryption"])
    def change_state(self, room, sender, type):
        if room in self.rooms:
            self.append(self.event(room, sender, type, {"n": self.number()}, state_key=""))

    @act(room=ROOM_IDS, index=range(31))
    def set_back_state(self, room, index):
        """As state resolution does: an event of the state is out of it again, members too."""
        if room not in self.rooms:
            return
        known = self.rooms[room]
        keys = [key for key in sorted(known.state) if key[0] != "m.room.create"]
        if not keys:
            return
        key = keys[index % len(keys)]

        def resolve(parts):
            def both(tx):
                state = tx.rooms.state.current(room)
                state = tx.rooms.state_compressor.change(state, {key: None})
                tx.rooms.state.set_current(room, state)

            parts.transaction(both)

        self.do(resolve)
        del known.state[key]
        if key[0] == "m.room.member" and known.members.get(key[1], ("leave",))[0] != "leave":
            known.members[key[1]] = ("leave", self.newest())

    @act(room=ROOM_IDS)
    def delete_room(self, room):
        removed = delete_room(self.store.db, room)
        assert (removed["pduid_pdu"] > 0) == (room in self.rooms)
        if room in self.rooms:
            self.room_gone(room)

    def room_gone(self, room):
        super().room_gone(room)
        del self.rooms[room]

    def look(self, view):
        super().look(view)
        assert view.rooms.metadata.all() == sorted(self.rooms)
        for room, known in self.rooms.items():
            members = view.rooms.members
            assert members.joined_members(room) == known.who("join")
            assert members.invited_members(room) == known.who("invite")
            assert members.knocked_members(room) == known.who("knock")
            assert members.once_joined_members(room) == sorted(known.once_joined)
            assert members.joined_total(room) == len(known.who("join"))
            servers = {user.partition(":")[2] for user in known.who("join")}
            assert members.servers(room) == sorted(servers)
            state = view.rooms.state.current(room)
            assert view.rooms.state_accessor.full_ids(state) == known.state
            assert set(view.rooms.state.forward_extremities(room)) == known.ends
            page, more = view.rooms.timeline.page(room, None, "f", 1_000)
            assert [event.event_id for event in page] == known.timeline
            assert more is None
        for user in USER_IDS:
            mine = {
                room: known.members[user][0]
                for room, known in self.rooms.items()
                if user in known.members
            }
            assert view.rooms.members.memberships(user) == mine
