"""A client that keeps what it is told, and nothing else; and what it must have been told."""

from collections import defaultdict

from scenes import Device

from conduitstore.sync import acknowledge, messages

MEMBER = "m.room.member"


class Client(Device):
    """One device, and all it was ever told.

    Attributes:
        events: by room, all since the beginning: what lies in gaps is paged back to.
        state: by room, as events of state and timeline make it.
        device_keys: of users whose devices it was told to ask for.
    """

    def __init__(self, store, user, device, **options):
        super().__init__(store, user, device, **options)
        self.joined, self.invited = set(), set()
        self.events, self.state = defaultdict(list), defaultdict(dict)
        self.to_device, self.account_data, self.receipts = [], [], []
        self.device_keys, self.typing = {}, {}

    def sync(self, **options):
        """One request and its answer; gives whether there was anything."""
        acknowledge(self.store, self.user, self.device, self.since)
        answer = self.ask(**options)
        assert answer.next_batch >= self.since
        for room, news in answer.left.items():
            self._leave(room, news)
        for change in answer.invited:
            self.invited.add(change.room)
        for room, news in answer.joined.items():
            self._join(room, news)
        self.account_data += [(c, None, e["type"], e["content"]) for c, e in answer.account_data]
        self.to_device += [event["content"]["n"] for _, event in answer.to_device]
        self._ask_for_devices(answer)
        self.since, was = answer.next_batch, self.since
        return bool(answer) or self.since != was

    # Rooms --------------------------------------------------------------------------------------
    def _join(self, room, news):
        self.invited.discard(room)
        self.joined.add(room)
        if news.is_new:
            self._forget(room)
        self._tell(room, news, since=0 if news.is_new else self.since)
        self.receipts += [
            (r.count, room, r.user, next(iter(r.event["content"]))) for r in news.receipts
        ]
        self.account_data += [(c, room, e["type"], e["content"]) for c, e in news.account_data]
        if news.typing is not None:
            self.typing[room] = news.typing

    def _leave(self, room, news):
        self.invited.discard(room)
        was_in = room in self.joined
        self.joined.discard(room)
        if was_in:
            self._tell(room, news, since=self.since)
        elif len(news.timeline.events) > 1 or news.timeline.limited:  # A stay between two syncs.
            self._forget(room)
            self._tell(room, news, since=0)

    def _forget(self, room):
        self.events[room], self.state[room] = [], {}
        self.typing.pop(room, None)
        self.receipts = [told for told in self.receipts if told[1] != room]
        self.account_data = [told for told in self.account_data if told[1] != room]

    def _tell(self, room, news, since):
        timeline = news.timeline
        if timeline.limited:
            self.events[room] += self._gap(room, news.prev_batch, since)
        for event in news.state:
            self._apply(room, event)
        for event in timeline.events:
            self._check_sender(room, event)
            self.events[room].append(event.event_id)
            if "state_key" in event.pdu:
                self._apply(room, event)

    def _apply(self, room, event):
        self.state[room][event.pdu["type"], event.pdu["state_key"]] = event.event_id

    def _gap(self, room, token, since):
        """What lies between the client's token and a limited timeline, oldest first."""
        found = []
        while token is not None:
            with self.store.snapshot() as view:
                page = messages(view, room, token, "b", 2, to=str(since))
            found += [event.event_id for event in page.events]
            token = page.end
        return found[::-1]

    def _check_sender(self, room, event):
        """The client can show who wrote the event, as the room had them then."""
        rooms = self.store.rooms
        state = rooms.state.at(room, event.position - 1)
        key = (MEMBER, event.pdu["sender"])
        shown_as = None if state is None else rooms.state_accessor.event_id(state, *key)
        assert shown_as is None or self.state[room].get(key) == shown_as

    # Devices ------------------------------------------------------------------------------------
    def _ask_for_devices(self, answer):
        """As clients do: of everybody it is told of, and at first of all in encrypted rooms."""
        changed = set(answer.device_lists.changed)
        if not self.since:
            changed |= sharing(self.store, self.user)
        for user in answer.device_lists.left:
            self.device_keys.pop(user, None)
        for user in changed:
            self.device_keys[user] = newest_keys(self.store, user)

    # At the end ---------------------------------------------------------------------------------
    def assert_was_told(self, written):
        rooms = self.store.rooms
        assert self.joined == set(rooms.members.rooms_joined(self.user))
        assert self.invited == {
            change.room
            for change in rooms.members.changes_since(self.user, "invite", 0, self.since)
        }
        for room, told in self.events.items():
            seen = None if room in self.joined else written.seen.get((self.user, room), 0)
            assert told == written.events[room][:seen]
        for room in self.joined:
            self._assert_knows(room)
        assert self.to_device == written.to_device[self.user, self.device]
        self._assert_newest(written)
        for user in sharing(self.store, self.user):
            assert self.device_keys.get(user) == newest_keys(self.store, user)
        assert self.device_keys.keys() <= sharing(self.store, self.user) | {self.user}

    def _assert_knows(self, room):
        accessor, state = self.store.rooms.state_accessor, self.store.rooms.state.current(room)
        known, there = self.state[room], accessor.full_ids(state)
        assert known.items() <= there.items()
        if not self.options.get("lazy_members"):
            assert known == there
        assert self.typing.get(room, []) == self.store.typing.users(room)

    def _assert_newest(self, written):
        """In the order of counts, none twice, and of each the last one is the newest."""
        receipts = {key: n for key, n in written.receipts.items() if key[0] in self.joined}
        own = {
            (room, kind): n
            for (user, room, kind), n in written.account_data.items()
            if user == self.user and (room is None or room in self.joined)
        }
        told = [data for data in self.account_data if data[1] is None or data[1] in self.joined]
        for told_of, newest in (
            ([r for r in self.receipts if r[1] in self.joined], receipts),
            (told, own),
        ):
            counts = [count for count, *_ in told_of]
            assert len(set(counts)) == len(counts)
            assert {tuple(key): value for _, *key, value in sorted(told_of, key=first)} == newest


def first(told):
    return told[0]


def sharing(store, user):
    """Who is in an encrypted room with the user."""
    with store.snapshot() as view:
        members, accessor = view.rooms.members, view.rooms.state_accessor
        rooms = [room for room in members.rooms_joined(user) if accessor.is_encrypted(room)]
        return {other for room in rooms for other in members.joined_members(room)} - {user}


def newest_keys(store, user):
    found = store.keys.device_keys(user, "D")
    return None if found is None else found["n"]
