"""Devices that sync: each is told everything once, in order, and again where an answer got lost."""

from dataclasses import dataclass, field

from conduitstore.sync import SyncOptions, acknowledge, sync

from .accounts import Accounts
from .base import BOTH, INDEX, ROOM_IDS, USER_IDS, act, chosen
from .encryption import Encryption
from .talk import Talk

KINDS = ["m.tag", "m.direct"]


@dataclass
class Client:
    """A device: its token, and what it knows of rooms from nothing but answers."""

    since: int = 0
    states: dict = field(default_factory=dict)
    messages: list = field(default_factory=list)


class Syncs(Talk, Encryption, Accounts):
    """To-device queues, account data, key changes, with the counts up to which they came."""

    def __init__(self):
        super().__init__()
        self.clients, self.queues, self.account_data = {}, {}, {}
        self.key_changes = []

    def changed_keys(self, user):
        super().changed_keys(user)
        encrypted = {
            room
            for room, known in self.rooms.items()
            if user in known.who("join") and ("m.room.encryption", "") in known.state
        }
        self.key_changes.append((self.newest(), user, encrypted))

    @act(sender=USER_IDS, index=INDEX, total=range(1, 4))
    def send_to_device(self, sender, index, total):
        for place in [chosen(self.devices, index)] * total if self.devices else ():
            content = {"n": self.number()}
            self.do(
                lambda p, place=place, content=content: p.to_device.queue(
                    sender, *place, "t", content
                )
            )
            self.queues.setdefault(place, []).append((self.newest(), content["n"]))

    @act(user=USER_IDS, room=[*ROOM_IDS, None], kind=KINDS, total=range(1, 4))
    def set_account_data(self, user, room, kind, total):
        for _ in range(total if room is None or room in self.rooms else 0):
            content = {"n": self.number()}
            self.do(lambda p, content=content: p.account_data.update(room, user, kind, content))
            self.account_data[user, room, kind] = (self.newest(), content)

    @act(index=INDEX)
    def delete_account_data(self, index):
        if not self.account_data:
            return
        user, room, kind = place = chosen(self.account_data, index)
        was_there = bool(self.account_data.get(place, (0, {}))[1])
        assert (self.do(lambda p: p.account_data.delete(room, user, kind)) is not None) == was_there
        if was_there:
            self.account_data[place] = (self.newest(), {})

    def device_gone(self, user, device):
        super().device_gone(user, device)
        self.queues.pop((user, device), None)
        self.clients.pop((user, device), None)

    def room_gone(self, room):
        super().room_gone(room)
        for place in [place for place in self.account_data if place[1] == room]:
            del self.account_data[place]
        for client in self.clients.values():
            client.states.pop(room, None)

    # A sync -------------------------------------------------------------------------------------
    @act(weight=3, limit=range(1, 5))
    def sync_all(self, limit):
        for place in list(self.devices):
            self.sync_one(*place, limit, is_lost=False)

    @act(weight=2, index=INDEX, limit=range(1, 5), is_lost=BOTH)
    def sync(self, index, limit, is_lost):
        if self.devices:
            self.sync_one(*chosen(self.devices, index), limit, is_lost)

    def sync_one(self, user, device, limit, is_lost):
        client = self.clients.setdefault((user, device), Client())
        acknowledge(self.store, user, device, client.since)
        queue = self.queues.get((user, device), [])
        queue[:] = [message for message in queue if message[0] > client.since]
        with self.store.snapshot() as view:
            answer = sync(view, user, device, client.since, SyncOptions(timeline_limit=limit))
        assert answer.next_batch == self.newest()
        self.assert_told(user, device, client, answer, limit)
        if not is_lost:
            self.take_in(client, answer)

    def assert_told(self, user, device, client, answer, limit):
        since = client.since
        news = {"join": {}, "invite": {}, "knock": {}, "leave": {}}
        for room, known in self.rooms.items():
            membership, count = known.members.get(user, (None, 0))
            if membership is not None:
                news[membership][room] = count
        for room, joined in news["join"].items():
            self.assert_room_told(user, room, joined, since, answer.joined.get(room), limit)
        assert answer.joined.keys() <= news["join"].keys()
        for kind, told in (("invite", answer.invited), ("knock", answer.knocked)):
            assert [change.room for change in told] == newer(news[kind], since)
        assert sorted(answer.left) == sorted(newer(news["leave"], since) if since else [])
        queue = self.queues.get((user, device), [])
        assert [event["content"]["n"] for _, event in answer.to_device] == [
            n for count, n in queue if count > since
        ]
        assert told_data(answer.account_data) == self.new_data(user, None, since)
        self.assert_key_changes(user, since, answer.device_lists.changed, news["join"])

    def assert_room_told(self, user, room, joined, since, news, limit):
        """``joined`` is the count of the join: whoever joined since is told from the beginning."""
        lower, known = 0 if joined > since else since, self.rooms[room]
        events = [e for e in known.timeline if known.events[e][0] > lower]
        read = [
            (reader, at)
            for (where, reader, _), (count, at) in self.receipts.items()
            if where == room and count > lower
        ]
        data = self.new_data(user, room, lower)
        if news is None:
            assert (events, read, data) == ([], [], {})
            return
        timeline = news.timeline
        assert [event.event_id for event in timeline.events] == events[-limit:]
        before = known.timeline if news.is_new and events else events
        assert timeline.limited == (len(before) > min(limit, len(events)))
        assert news.is_new == (joined > since)
        assert {e.event_id for e in news.state}.isdisjoint(events[-limit:])
        told = [(r.user, next(iter(r.event["content"]))) for r in news.receipts]
        assert sorted(told) == sorted(read)
        assert told_data(news.account_data) == data
        counters = self.unread.get((room, user), {}).values()
        assert news.unread.total.notifications == sum(n for n, _ in counters)

    def new_data(self, user, room, since):
        return {
            kind: content
            for (owner, where, kind), (count, content) in self.account_data.items()
            if (owner, where) == (user, room) and count > since
        }

    def assert_key_changes(self, user, since, told, joined):
        """At least of whom the user shared an encrypted room with then and does now."""
        if not since:
            assert told == set()
            return
        shared = {
            other: {
                room
                for room in joined
                if ("m.room.encryption", "") in self.rooms[room].state
                and other in self.rooms[room].who("join")
            }
            for other in USER_IDS
        }
        recent = [change for change in self.key_changes if change[0] > since]
        assert told >= {who for _, who, rooms in recent if who == user or rooms & shared[who]}
        assert told <= {who for _, who, _ in recent} | {who for who in shared if shared[who]}

    def take_in(self, client, answer):
        """What a client makes of it: each room's state follows from deltas and timelines."""
        for room, news in answer.joined.items():
            state = client.states.setdefault(room, {})
            for event in (*news.state, *news.timeline.events):
                if "state_key" in event.pdu:
                    state[event.pdu["type"], event.pdu["state_key"]] = event.event_id
        for room in answer.left:
            client.states.pop(room, None)
        for _, event in answer.to_device:
            assert event["content"]["n"] not in client.messages
            client.messages.append(event["content"]["n"])
        client.since = answer.next_batch
        for room in answer.joined:
            # What state resolution took out again stays with the client: no answer can say so.
            assert self.rooms[room].state.items() <= client.states[room].items()

    def finish(self):
        """In the end every device has been told everything."""
        for user, device in list(self.devices):
            self.sync_one(user, device, 2, is_lost=False)
            client = self.clients[user, device]
            with self.store.snapshot() as view:
                again = sync(view, user, device, client.since)
            assert not again
            queue = self.queues.get((user, device), [])
            acknowledged = len(client.messages) - len(queue)
            assert client.messages[acknowledged:] == [n for _, n in queue]
        super().finish()

    def look(self, view):
        super().look(view)
        for (user, room, kind), (_, content) in self.account_data.items():
            assert view.account_data.get(room, user, kind) == content
        for place in self.devices:
            waiting = view.to_device.events_since(*place, 0, self.newest())
            assert [event["content"]["n"] for _, event in waiting] == [
                n for _, n in self.queues.get(place, [])
            ]


def newer(rooms, since):
    return [
        room for room, count in sorted(rooms.items(), key=lambda item: item[1]) if count > since
    ]


def told_data(data):
    return {event["type"]: event["content"] for _, event in data}
