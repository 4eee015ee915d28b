"""A token outlives the machine that gave it: after power loss nothing that is there stays untold.

Power loss may take the newest commits, also some whose events a client was already told of. Its
token then is above all that is left; what comes later must still get counts above that token.
"""

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st
from scenes import DEVICE, ROOM, A, Scene

import conduitstore
from conduitstore.errors import ConduitStoreError
from conduitstore.sync import SyncOptions, sync
from conduitstore.testing.disk import SimulatedDisk

STEPS = st.one_of(
    st.tuples(st.just("write"), st.integers(1, 3)),
    st.tuples(st.just("sync"), st.just(0)),
    st.tuples(st.just("flush"), st.just(0)),
    st.tuples(st.just("kill"), st.just(0)),
    st.tuples(st.just("power loss"), st.integers(0, 1_000)),
)


class Life:
    """A store that dies now and then, and one client."""

    def __init__(self):
        self.disk = SimulatedDisk()
        self.store = self.open()
        Scene(self.store, 1_000).join(A)
        self.store.db.flush()
        self.since = self.number = 0
        self.events, self.messages = [], []

    def open(self):
        return conduitstore.open("store", files=self.disk, flush_every_ms=None, leaf_entries_max=8)

    def do(self, step, argument):
        match step:
            case "write":
                for _ in range(argument):
                    self.number += 1
                    self.store.transaction(self.write)
            case "sync":
                self.sync()
            case "flush":
                self.store.db.flush()
            case "kill":
                self.disk.kill()
                self.bury()
            case "power loss":
                self.disk.power_loss(argument)
                self.bury()

    def bury(self):
        with suppress(ConduitStoreError):
            self.store.close()
        self.store = self.open()

    def write(self, tx):
        Scene(tx, self.number - 1).say(A)
        tx.to_device.queue(A, A, DEVICE, "t", {"n": self.number})

    def sync(self):
        with self.store.snapshot() as view:
            answer = sync(view, A, DEVICE, self.since, SyncOptions(timeline_limit=1_000))
        assert answer.next_batch >= self.since, "a token went back"
        for news in answer.joined.values():
            self.events += [event.event_id for event in news.timeline.events]
        self.messages += [event["content"]["n"] for _, event in answer.to_device]
        self.since = answer.next_batch


@given(st.lists(STEPS, max_size=25))
def test_nothing_that_is_there_stays_untold(steps):
    life = Life()
    try:
        for step, argument in steps:
            life.do(step, argument)
        life.sync()
        store = life.store
        there, _ = store.rooms.timeline.page(ROOM, None, "f", 1_000)
        queued = store.to_device.events_since(A, DEVICE, 0, store.globals.current_count())
    finally:
        life.store.close()
    assert len(set(life.events)) == len(life.events)
    assert len(set(life.messages)) == len(life.messages)
    still = {event.event_id for event in there}
    assert [told for told in life.events if told in still] == [event.event_id for event in there]
    left = [event["content"]["n"] for _, event in queued]
    assert [told for told in life.messages if told in set(left)] == left
