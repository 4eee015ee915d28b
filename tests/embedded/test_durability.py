"""What each durability promises, observed on the simulated disk."""

import asyncio
import errno
import threading

import pytest
from logs import calls_of

from conduitstore.engine import Batch, embedded
from conduitstore.engine.embedded import database
from conduitstore.errors import InvalidArgumentError, PoisonedError
from conduitstore.testing.disk import SimulatedDisk


@pytest.fixture
def disk():
    return SimulatedDisk()


def open_on(disk, **settings):
    return embedded.open("store", files=disk, **{"flush_every_ms": None} | settings)


@pytest.mark.parametrize(
    ("durability", "first", "second"),
    [
        ("none", [], []),
        ("interval", ["append", "append"], ["put"]),  # Sets space aside.
        ("commit", ["append", "append", "sync"], ["write", "sync"]),
    ],
)
def test_what_a_commit_does_to_the_log(disk, durability, first, second):
    db = open_on(disk, durability=durability)
    assert calls_of(disk, lambda: db.insert(b"a", b"1")) == first
    assert calls_of(disk, lambda: db.insert(b"b", b"1")) == second
    default = open_on(SimulatedDisk())
    other = default.directory._disk
    write = lambda tx: tx.insert(b"a", b"1")  # noqa: E731
    assert calls_of(other, lambda: default.transaction(write, durability=durability)) == first
    assert calls_of(other, lambda: default.transaction(write, durability=durability)) == second


@pytest.mark.parametrize(
    ("durability", "after_kill", "after_power_loss"),
    [("none", 0, 0), ("interval", 5, 0), ("commit", 5, 5)],
)
def test_what_is_left(durability, after_kill, after_power_loss):
    for strike, expected in (("kill", after_kill), ("power_loss", after_power_loss)):
        disk = SimulatedDisk()
        db = open_on(disk, durability=durability)
        for number in range(5):
            db.insert(bytes([number]), b"1")
        disk.kill() if strike == "kill" else disk.power_loss(keep="nothing")
        assert len(open_on(disk)) == expected


def test_a_synced_commit_carries_every_earlier_one(disk):
    db = open_on(disk, durability="none")
    for number in range(5):
        db.insert(bytes([number]), b"1")
    assert db.durable_sequence == 0
    db.transaction(lambda tx: tx.insert(b"last", b"1"), durability="commit")
    assert db.durable_sequence == db.sequence == 6
    disk.power_loss(keep="nothing")
    assert len(open_on(disk)) == 6


def test_flush_makes_everything_durable(disk):
    db = open_on(disk, durability="none")
    db.insert(b"a", b"1")
    assert db.flush() == db.durable_sequence == 1
    disk.power_loss(keep="nothing")
    assert len(open_on(disk)) == 1


def test_a_nested_call_may_ask_for_more_but_not_for_less(disk):
    db = open_on(disk)

    def careful(tx):
        tx.insert(b"b", b"1")

    def run(tx):
        tx.insert(b"a", b"1")
        tx.transaction(careful, durability="commit")
        tx.transaction(lambda tx: tx.insert(b"c", b"1"), durability="none")

    db.transaction(run)
    assert db.durable_sequence == db.sequence == 1


def test_one_sync_serves_all_who_wait(disk):
    db = open_on(disk)
    db.insert(b"first", b"1")
    threads, writers = [], 8
    waiting = threading.Semaphore(0)
    syncs = []

    def fail(operation, name):
        if operation == "sync" and "log" in name:
            syncs.append(name)
            if len(syncs) == 1:
                # The first sync takes until all the others have written and wait behind it.
                for _ in range(writers - 1):
                    waiting.acquire()

    def write(number):
        tx_done = db.transaction(lambda tx: tx.insert(bytes([number]), b"1"))
        assert tx_done is None
        if syncs:
            waiting.release()
        db.sync(db.sequence)

    disk.fail = fail
    leader = threading.Thread(target=db.flush)
    leader.start()
    while not syncs:
        pass
    for number in range(writers - 1):
        threads.append(threading.Thread(target=write, args=(number,)))
        threads[-1].start()
    for thread in (leader, *threads):
        thread.join()
    assert db.durable_sequence == db.sequence
    assert len(syncs) <= 3, "the seven that waited share one sync, or at most two"


def test_the_flusher_syncs_and_checkpoints_by_itself(tmp_path):
    with embedded.open(tmp_path / "s", flush_every_ms=5, checkpoint_log_bytes=1_000) as db:

        async def write_and_wait():
            for number in range(50):
                db.insert(number.to_bytes(2), b"x" * 40)
            await asyncio.wait_for(db.wait_durable(db.sequence), 20)

        asyncio.run(write_and_wait())
        assert db.durable_sequence == 50
        for _ in range(6_000):
            if list((tmp_path / "s").glob("segment-*")):
                break
            threading.Event().wait(0.01)
        assert list((tmp_path / "s").glob("segment-*"))


def test_wait_durable_wakes_everybody_and_forgets_who_gave_up(tmp_path):
    with embedded.open(tmp_path / "s", flush_every_ms=60_000) as db:
        db.insert(b"a", b"1")

        async def main():
            with pytest.raises(InvalidArgumentError, match="no commit yet"):
                await db.wait_durable(9)
            gave_up = asyncio.ensure_future(db.wait_durable(1))
            await asyncio.sleep(0)
            gave_up.cancel()
            waiting = [asyncio.ensure_future(db.wait_durable(1)) for _ in range(3)]
            await asyncio.sleep(0)
            assert await db.flush_async() == 1
            await asyncio.wait_for(asyncio.gather(*waiting), 20)
            assert not db._waiters._waiters
            await db.wait_durable(1)

        asyncio.run(main())


def test_a_loop_goes_on_while_the_disk_syncs(disk):
    db = open_on(disk)
    db.insert(b"a", b"1")
    went_on = threading.Event()

    async def flush():
        syncing = asyncio.ensure_future(db.flush_async())
        await asyncio.sleep(0)
        went_on.set()  # By the loop, while the sync waits for it.
        return await asyncio.wait_for(syncing, 20)

    disk.fail = lambda operation, _name: (
        None if operation != "sync" or went_on.wait(20) else OSError()
    )
    assert asyncio.run(flush()) == db.durable_sequence == 1


@pytest.mark.parametrize("keep", [0, 5_000])
def test_a_long_log_is_cut_without_a_flusher_too(keep):
    disk = SimulatedDisk(can_map=False)
    db = open_on(disk, checkpoint_log_bytes=500, log_keep_bytes=keep)
    for number in range(200):
        db.insert(bytes([number % 7]), b"x" * 50)
    directory = disk.directory("store")
    logs = [directory.open(name).size() for name in directory.names() if "log" in name]
    assert keep - 1_000 < sum(logs) < keep + 2_000
    disk.kill()
    assert len(open_on(disk)) == 7


def test_ids_and_counts_go_on_above_every_one_that_was_given_out(disk):
    db = open_on(disk, idgen_persist_interval=10)
    ids = [db.generate_id() for _ in range(25)]
    counts = [db.transaction(lambda tx: tx.next_count()) for _ in range(5)]
    disk.power_loss(keep="nothing")
    db = open_on(disk, idgen_persist_interval=10)
    assert db.generate_id() > max(ids)
    assert db.current_count() >= max(counts)
    assert db.transaction(lambda tx: tx.next_count()) > max(counts)


def test_reading_more_than_the_cache_holds(disk):
    value = b"x" * 100
    db = open_on(disk, leaf_entries_max=4, cache_capacity_bytes=4_000)
    for number in range(400):
        db.insert(number.to_bytes(2), value)
    db.checkpoint()
    cache = db.forest.cache
    assert cache.resident_bytes <= 4_000
    for _ in range(2):
        assert [db.get(number.to_bytes(2)) for number in range(400)] == [value] * 400
        assert len(list(db)) == 400
        assert cache.resident_bytes <= 4_000
    assert cache.loads_total > 100
    for number in range(0, 400, 3):
        db.remove(number.to_bytes(2))
    assert len(db) == 400 - 134


@pytest.mark.parametrize("bound", [1, 30, 33, 64, 65])
def test_a_bound_below_the_length_of_an_empty_log_stops_nobody(bound):
    """Once its writers waited for ever: a log without a commit counted as too long."""
    disk = SimulatedDisk()
    with embedded.open("store", files=disk, flush_every_ms=None, checkpoint_log_bytes=bound) as db:
        for number in range(5):
            db.insert(bytes([number]), b"value")
        assert len(db) == 5
        assert db.log.is_empty or db.log.commits_bytes < bound


def test_a_turn_of_the_background_thread_writes_what_none_holds_in_memory(disk):
    db = open_on(disk, durability="none")
    db.insert(b"a", b"1")
    db.keep_up()
    db.insert(b"b", b"2")
    disk.kill()
    assert list(open_on(disk)) == [(b"a", b"1")]


def test_a_batch_may_be_waited_for(disk):
    db = open_on(disk)
    db.apply_batch(Batch().insert("__default__", b"a", b"1"), durability="commit")
    assert db.durable_sequence == db.sequence == 1
    with pytest.raises(InvalidArgumentError, match="durability"):
        db.apply_batch(Batch().insert("__default__", b"b", b"1"), durability="soon")
    assert db.sequence == 1


def test_a_batch_waits_for_a_checkpoint_that_lags_as_well(disk):
    db = open_on(disk, checkpoint_log_bytes=2_000)
    db.insert(b"a", b"1")
    db.is_behind = True
    db.apply_batch(Batch().insert("__default__", b"b", b"2"))
    assert not db.is_behind
    assert db.generation.sequence == 1, "the checkpoint came first"
    assert [key for key, _ in db] == [b"a", b"b"]


def test_a_commit_that_no_frame_can_hold_is_refused_whole(disk, monkeypatch):
    monkeypatch.setattr(database, "FRAME_PAYLOAD_BYTES_MAX", 500)
    db = open_on(disk)
    with pytest.raises(InvalidArgumentError, match="make several"):
        db.transaction(lambda tx: [tx.insert(bytes([n]), b"x" * 40) for n in range(20)])
    assert list(db) == []
    db.insert(b"a", b"goes on")
    disk.kill()
    assert list(open_on(disk)) == [(b"a", b"goes on")]


def test_a_write_that_takes_nothing_fails_and_latches():
    disk = SimulatedDisk(can_map=False)
    db = open_on(disk)
    db.insert(b"a", b"1")
    disk.append_bytes_max = 0
    with pytest.raises(OSError, match="took nothing"):
        db.insert(b"b", b"2")
    disk.append_bytes_max = None
    with pytest.raises(PoisonedError):
        db.insert(b"c", b"3")
    disk.kill()
    assert list(open_on(disk)) == [(b"a", b"1")]


def test_ceilings_are_raised_before_they_are_reached(disk):
    db = open_on(disk, idgen_persist_interval=10)
    raised = []
    disk.fail = lambda operation, name: (
        raised.append(name) if operation == "append" and name.startswith("manifest") else None
    )
    taken = [db.generate_id() for _ in range(7)]
    before = len(raised)
    db.keep_up()
    assert len(raised) == before + 1
    taken += [db.generate_id() for _ in range(8)]
    db.keep_up()
    db.keep_up()
    assert len(raised) == before + 2, "nobody who took an id has waited for one"
    assert taken == list(range(15))
    disk.kill()
    assert open_on(disk).generate_id() > taken[-1]


def test_background_work_that_fails_ends_and_says_so(disk, caplog):
    db = open_on(disk, flush_every_ms=5)
    disk.fail = lambda operation, name: (
        OSError(errno.EIO, "injected") if (operation, name[:3]) == ("sync", "log") else None
    )
    db.insert(b"a", b"1")
    db._flusher._thread.join(20)
    assert not db._flusher._thread.is_alive()
    assert "background work ends: injected" in caplog.text.replace("[Errno 5] ", "")
    with pytest.raises(PoisonedError):
        db.insert(b"b", b"2")
    db.close()
    disk.kill()
    assert list(open_on(disk)) == [(b"a", b"1")]
