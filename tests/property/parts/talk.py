"""Messages: sent, backfilled, related, redacted, forgotten; how far they were read."""

from itertools import combinations

from .base import BOTH, INDEX, ROOM_IDS, USER_IDS, act, chosen
from .rooms import Rooms

WORDS = ["tea", "tea coffee", "Coffee!", ""]
RELATIONS = [None, "m.thread", "m.thread", "m.replace", "m.reference"]
TO_COME = "$to come of {}"


class Talk(Rooms):
    """Receipts, markers and counters by room, user and thread."""

    def __init__(self):
        super().__init__()
        self.receipts, self.private, self.unread = {}, {}, {}

    def populate(self):
        super().populate()
        for relation in (None, "m.thread", "m.thread"):
            self.send(ROOM_IDS[0], USER_IDS[1], "tea", relation, 4, forks=False)

    def message(self, room, sender, words, relation, index, **more):
        content = {"body": words}
        to = TO_COME.format(room) if index == 7 else chosen(self.rooms[room].timeline, index)
        if relation is not None:
            content["m.relates_to"] = {"rel_type": relation, "event_id": to}
        return self.event(room, sender, "m.room.message", content, **more)

    @act(
        weight=4,
        room=ROOM_IDS,
        sender=USER_IDS,
        words=WORDS,
        relation=RELATIONS,
        index=INDEX,
        forks=BOTH,
    )
    def send(self, room, sender, words, relation, index, forks):
        if room in self.rooms:
            follows = [self.rooms[room].timeline[-1]] if forks else None
            self.append(self.message(room, sender, words, relation, index, follows=follows))

    @act(room=ROOM_IDS, sender=USER_IDS, relation=RELATIONS, index=INDEX, is_awaited=BOTH)
    def backfill(self, room, sender, relation, index, is_awaited):
        """An older event; perhaps the one that others relate to already."""
        if room not in self.rooms:
            return
        known = self.rooms[room]
        awaited = TO_COME.format(room)
        is_wanted = is_awaited and awaited not in known.events
        event_id = awaited if is_wanted else f"${self.number()}"
        pdu = self.message(room, sender, "tea", relation, index, follows=[f"$gap{self.number()}"])
        position = self.do(lambda p: p.rooms.append.backfilled(pdu, event_id, room))
        assert position < min(place for place, _ in known.events.values())
        known.events[event_id] = (position, pdu)

    @act(room=ROOM_IDS, index=INDEX, keeps=BOTH)
    def redact(self, room, index, keeps):
        known = self.rooms.get(room)
        event_id = known and chosen([e for e in known.timeline if is_message(known, e)], index)
        if event_id is not None:
            position, pdu = known.events[event_id]
            new = {**pdu, "content": {}}
            second = 5 if keeps else None
            self.do(lambda p: p.rooms.timeline.replace(new, event_id, keep_original_s=second))
            known.events[event_id] = (position, new)

    @act(room=ROOM_IDS, before_ms=[2_500, 4_500, 1 << 40])
    def forget_old(self, room, before_ms):
        known = self.rooms.get(room)
        if known is None:
            assert self.do(lambda p: p.rooms.retention.purge(room, before_ms)).total == 0
            return
        last = known.timeline[-1]
        old = [
            event_id
            for event_id, (_, pdu) in known.events.items()
            if pdu["origin_server_ts"] < before_ms
            and is_message(known, event_id)
            and event_id not in known.ends | {last}
        ]
        assert self.do(lambda p: p.rooms.retention.purge(room, before_ms)).total == len(old)
        for event_id in old:
            del known.events[event_id]

    # Read ---------------------------------------------------------------------------------------
    @act(
        weight=2,
        room=ROOM_IDS,
        user=USER_IDS,
        indices=[*combinations(INDEX, 2), *combinations(INDEX, 3)],
        thread=[None, None, "main"],
    )
    def read(self, room, user, indices, thread):
        detail, place = {} if thread is None else {"thread_id": thread}, (room, user, thread)
        for index in indices if room in self.rooms else ():
            event_id = chosen(self.rooms[room].timeline, index)
            event = {"type": "m.receipt", "content": {event_id: {"m.read": {user: detail}}}}
            moved = self.do(lambda p, event=event: p.rooms.receipts.update(user, room, event))
            assert (moved is not None) == self.is_later(room, event_id, self.receipts.get(place))
            if moved is not None:
                self.receipts[place] = (self.newest(), event_id)

    def is_later(self, room, event_id, old):
        events = self.rooms[room].events
        if old is None:
            return True
        if old[1] == event_id:
            return False
        return old[1] not in events or events[event_id][0] > events[old[1]][0]

    @act(room=ROOM_IDS, user=USER_IDS, upto=range(1, 201))
    def read_privately(self, room, user, upto):
        if room in self.rooms:
            old = self.private.get((room, user))
            moved = self.do(lambda p: p.rooms.receipts.set_private_read(user, room, upto))
            assert (moved is not None) == (old is None or upto > old[1])
            if moved is not None:
                self.private[room, user] = (self.newest(), upto)

    @act(room=ROOM_IDS, user=USER_IDS, index=INDEX, is_in_thread=BOTH, is_loud=BOTH)
    def notify(self, room, user, index, is_in_thread, is_loud):
        if room in self.rooms:
            root = chosen(self.rooms[room].timeline, index)
            thread, loud = root if is_in_thread else "main", [user] if is_loud else []
            self.do(lambda p: p.rooms.user_counters.increment(room, [user], loud, thread))
            counters = self.unread.setdefault((room, user), {}).setdefault(thread, [0, 0])
            counters[0] += 1
            counters[1] += is_loud

    def collected(self):
        """Counters of threads of which neither the root nor a reply is here."""
        super().collected()
        for (room, _), threads in self.unread.items():
            known = self.rooms[room]
            there = {"main", *known.events, *(relation_of(known, e)[1] for e in known.events)}
            for thread in threads.keys() - there:
                del threads[thread]

    @act(room=ROOM_IDS, user=USER_IDS)
    def read_all(self, room, user):
        if room in self.rooms:
            self.do(lambda p: p.rooms.user_counters.reset(user, room))
            self.unread.pop((room, user), None)

    def room_gone(self, room):
        super().room_gone(room)
        for held in (self.receipts, self.private, self.unread):
            for place in [place for place in held if place[0] == room]:
                del held[place]

    # Seen ---------------------------------------------------------------------------------------
    def look(self, view):
        super().look(view)
        for room, known in self.rooms.items():
            self.look_at_relations(view, room, known)
            self.look_at_words(view, room, known)
            for place in (1_000, 3_500):
                self.look_at_times(view, room, known, place)
        for room in ROOM_IDS:
            for user in USER_IDS:
                self.look_at_marks(view, room, user)

    def look_at_relations(self, view, room, known):
        roots = {}
        for event_id in known.timeline:
            related = [e for e in known.timeline if relation_of(known, e)[1] == event_id]
            found, _ = view.rooms.pdu_metadata.relations(event_id, None, "f", 1_000)
            assert [event.event_id for event in found] == related
            replies = [e for e in related if relation_of(known, e)[0] == "m.thread"]
            if replies:
                roots[event_id] = replies
        pages = {
            by: view.rooms.threads.page(room, None, 1_000, by=by)[0] for by in ("root", "activity")
        }
        newest = {root: known.events[replies[-1]][0] for root, replies in roots.items()}
        ordered = sorted(roots, key=newest.get, reverse=True)
        assert [event.event_id for event in pages["activity"]] == ordered
        assert [e.event_id for e in pages["root"]] == [
            e for e in known.timeline[::-1] if e in roots
        ]
        for root in pages["root"]:
            replies = roots[root.event_id]
            summary = root.pdu["unsigned"]["m.relations"]["m.thread"]
            assert summary["count"] == len(replies)
            assert summary["latest_event"]["event_id"] == replies[-1]
            place = view.rooms.timeline.pdu_id(root.event_id)
            senders = {known.events[e][1]["sender"] for e in (root.event_id, *replies)}
            assert set(view.rooms.threads.participants(place)) == senders

    def look_at_words(self, view, room, known):
        for word in ("tea", "coffee"):
            found = view.rooms.search.find(room, word, 1_000).positions
            assert found == [
                known.events[event_id][0]
                for event_id in known.timeline[::-1]
                if word in known.events[event_id][1]["content"].get("body", "").lower()
            ]

    def look_at_times(self, view, room, known, time_ms):
        times = sorted((pdu["origin_server_ts"], place) for place, pdu in known.events.values())
        later = [place for time, place in times if time >= time_ms]
        assert view.rooms.timestamps.nearest(room, time_ms, "f") == chosen(later[:1], 0)

    def look_at_marks(self, view, room, user):
        for thread in (None, "main"):
            newest = view.rooms.receipts.newest(user, room, thread)
            known = self.receipts.get((room, user, thread))
            assert (newest and newest[1]) == (known and known[1])
        private = self.private.get((room, user))
        assert view.rooms.receipts.private_read(user, room) == (private and private[1])
        unread = view.rooms.user_counters.unread(user, room).total
        counters = self.unread.get((room, user), {}).values()
        assert unread.notifications == sum(n for n, _ in counters)
        assert unread.highlights == sum(loud for _, loud in counters)


def is_message(known, event_id):
    return "state_key" not in known.events[event_id][1]


def relation_of(known, event_id):
    """Its kind and what it relates to; to itself it has none."""
    found = known.events[event_id][1]["content"].get("m.relates_to", {})
    to = found.get("event_id")
    return (None, None) if to == event_id else (found.get("rel_type"), to)
