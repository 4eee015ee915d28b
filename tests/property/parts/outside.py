"""What others see: aliases, the directory, and what is sent to other servers."""

from conduitstore.types import FederationServer

from .base import BOTH, ROOM_IDS, USER_IDS, act
from .rooms import Rooms

ALIASES = ["#tea:one.test", "#tea2:one.test"]
SERVERS = [FederationServer("two.test"), FederationServer("two.testing")]


class Outside(Rooms):
    """Aliases, public rooms, and the queues: what waits and what is being sent."""

    def __init__(self):
        super().__init__()
        self.aliases, self.public = {}, set()
        self.waiting, self.active = set(), set()

    @act(alias=ALIASES, room=ROOM_IDS)
    def set_alias(self, alias, room):
        if room in self.rooms:
            self.do(lambda p: p.rooms.alias.set(alias, room, USER_IDS[0]))
            self.aliases[alias] = room

    @act(alias=ALIASES)
    def remove_alias(self, alias):
        assert self.do(lambda p: p.rooms.alias.remove(alias)) == (alias in self.aliases)
        self.aliases.pop(alias, None)

    @act(room=ROOM_IDS, shows=BOTH)
    def publish(self, room, shows):
        if room in self.rooms and shows:
            self.do(lambda p: p.rooms.directory.set_public(room))
            self.public.add(room)
        else:
            shown = self.do(lambda p: p.rooms.directory.set_not_public(room))
            assert shown == (room in self.public)
            self.public.discard(room)

    # Queues -------------------------------------------------------------------------------------
    @act(weight=3, server=SERVERS, room=ROOM_IDS, back=range(1, 3))
    def queue_event(self, server, room, back):
        if room in self.rooms:
            event_id = self.rooms[room].timeline[-back:][0]
            pdu_id = self.store.rooms.timeline.pdu_id(event_id)
            self.do(lambda p: p.sending.queue_pdus([(server, pdu_id)]))
            if (server, room, pdu_id) not in self.active:
                self.waiting.add((server, room, pdu_id))

    @act(server=SERVERS)
    def queue_edu(self, server):
        (item,) = self.do(lambda p: p.sending.queue_edus([(server, {"n": self.number()})]))
        self.waiting.add((server, None, item.item))

    @act(weight=2, server=SERVERS, limit=range(1, 4))
    def begin_sending(self, server, limit):
        items = self.store.sending.waiting(server, limit=limit)
        assert len(self.do(lambda p: p.sending.mark_active(items))) == len(items)
        assert self.store.sending.mark_active(items) == []
        moved = {
            (s, room, at)
            for s, room, at in self.waiting
            if any(i.item == at and s == server for i in items)
        }
        self.waiting, self.active = self.waiting - moved, self.active | moved

    @act(server=SERVERS)
    def finish_sending(self, server):
        mine = {row for row in self.active if row[0] == server}
        assert self.do(lambda p: p.sending.forget_all_active(server)) == len(mine)
        self.active -= mine

    def room_gone(self, room):
        super().room_gone(room)
        self.aliases = {alias: of for alias, of in self.aliases.items() if of != room}
        self.public.discard(room)
        for queue in (self.waiting, self.active):
            queue -= {row for row in queue if row[1] == room}

    def collected(self):
        """Events that are to be sent and are gone."""
        super().collected()
        there = {position for known in self.rooms.values() for position, _ in known.events.values()}
        for queue in (self.waiting, self.active):
            queue -= {row for row in queue if row[1] and row[2].position not in there}

    def look(self, view):
        super().look(view)
        assert dict(view.rooms.alias.all()) == self.aliases
        for room in self.rooms:
            listed = view.rooms.alias.of_room(room)
            assert sorted(listed) == sorted(a for a, of in self.aliases.items() if of == room)
        for alias, room in self.aliases.items():
            assert view.rooms.alias.resolve(alias) == room
        assert view.rooms.directory.public_rooms() == sorted(self.public)
        for server in {row[0] for row in self.waiting | self.active}:
            found = {item.item for item in view.sending.waiting(server)}
            assert found == {at for s, _, at in self.waiting if s == server}
            found = {item.item for item in view.sending.active(server)}
            assert found == {at for s, _, at in self.active if s == server}
