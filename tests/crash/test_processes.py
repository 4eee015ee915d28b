"""Real processes killed with SIGKILL at random moments: what they acknowledged must be there."""

import os
import random
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

from conduitstore.engine import embedded

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "10"))
THREADS = 3

WRITER = textwrap.dedent("""
    import os, sys, threading
    from conduitstore.engine import embedded

    path, durability = sys.argv[1:]
    db = embedded.open(
        path, flush_every_ms=20, checkpoint_log_bytes=30_000, leaf_entries_max=16,
        idgen_persist_interval=50,
    )
    newest = db.open_tree("thread_newest")

    def write(thread):
        rows = db.open_tree(f"rows_{thread}")
        key = bytes([thread])
        number = int.from_bytes(newest.get(key) or b"")
        while True:
            number += 1
            def run(tx):
                count = tx.next_count()
                tx.open_tree("thread_newest").insert(key, number.to_bytes(8))
                tx.open_tree(f"rows_{thread}").insert(number.to_bytes(8), os.urandom(60))
                tx.open_tree("count_thread").insert(count.to_bytes(8), key)
                return count
            count = db.transaction(run, durability=durability)
            # One write each, short enough to be atomic in a pipe.
            os.write(1, b"%d %d %d %d\\n" % (thread, number, count, db.generate_id()))

    for thread in range(3):
        threading.Thread(target=write, args=(thread,), daemon=True).start()
    threading.Event().wait()
""")


def run_until_killed(path, durability, seconds):
    """Acknowledgements that the writer got out before it died."""
    command = [sys.executable, "-c", WRITER, str(path), durability]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        acknowledged = [child.stdout.readline()]
        timer = threading.Timer(seconds, child.kill)
        timer.start()
        acknowledged += child.stdout.readlines()
        timer.join()
    assert child.returncode == -signal.SIGKILL
    return [tuple(map(int, line.split())) for line in acknowledged if line.endswith(b"\n")]


@pytest.mark.parametrize("durability", ["interval", "commit"])
def test_killed_writers_lose_nothing_they_acknowledged(tmp_path, durability):
    chance = random.Random(durability)
    path = tmp_path / "s"
    ids, newest_count, promised = set(), 0, dict.fromkeys(range(THREADS), 0)
    total = 0
    for _ in range(ROUNDS):
        said = run_until_killed(path, durability, chance.uniform(0, 0.15))
        assert said, "the writer must get somewhere in each round"
        total += len(said)
        for thread, number, _, new_id in said:
            promised[thread] = max(promised[thread], number)
            assert new_id not in ids, "an id came twice"
            ids.add(new_id)
        counts = [count for _, _, count, _ in said]
        assert len(set(counts)) == len(counts)
        assert min(counts) > newest_count, "a count below one that was handed out"
        newest_count = max(counts)
        with embedded.open(path) as db:
            assert db.was_recovered
            assert db.current_count() >= newest_count
            for thread, number in promised.items():
                rows = list(db.open_tree(f"rows_{thread}").keys())
                assert len(rows) >= number
                assert rows == [n.to_bytes(8) for n in range(1, len(rows) + 1)], "a gap"
                newest = db.open_tree("thread_newest").get(bytes([thread])) or b""
                assert int.from_bytes(newest) == len(rows), "half a commit"
            assert len(db.open_tree("count_thread")) == sum(
                len(db.open_tree(f"rows_{thread}")) for thread in range(THREADS)
            )
            newest_count = max(newest_count, db.current_count())
    assert total > ROUNDS * THREADS
