"""A process that forks writers on demand; they write until somebody kills them.

For each line ``path durability`` on its input it forks one, says ``pid N``, and ``dead`` once that
one is gone. Writers tell what they hand out, each line in one write that a pipe takes whole:

    count N            drawn, before its commit, or by a transaction that fails
    id N               given out
    done T N C         thread T's commit number N, with count C, was acknowledged
    backup S           a backup of everything up to the commit of sequence S is done
"""

import os
import random
import sys
import threading

from conduitstore.engine import embedded

SETTINGS = {
    "flush_every_ms": 20,
    "checkpoint_log_bytes": 20_000,
    "segment_bytes_target": 20_000,
    "leaf_entries_max": 16,
    "blob_bytes_min": 200,
    "idgen_persist_interval": 50,
}
THREADS = 3
COMMITS_A_LIFE = 60


def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def write(db, thread, durability, chance):
    key = bytes([thread])
    number = int.from_bytes(db.open_tree("thread_newest").get(key) or b"")

    def run(tx):
        count = tx.next_count()
        say("count", count)
        tx.open_tree("thread_newest").insert(key, number.to_bytes(8))
        tx.open_tree(f"rows_{thread}").insert(number.to_bytes(8), os.urandom(chance.choice(SIZES)))
        tx.open_tree("count_thread").insert(count.to_bytes(8), key)
        if chance.random() < 0.1:
            raise KeyError
        return count

    for _ in range(COMMITS_A_LIFE):
        number += 1
        try:
            count = db.transaction(run, durability=durability)
        except KeyError:
            number -= 1
            continue
        say("done", thread, number, count)
        say("id", db.generate_id())


SIZES = (0, 60, 60, 300)


def keep(db, path, chance):
    """What goes on beside."""
    for _ in range(4):
        what = chance.choice(("checkpoint", "compact", "flush", "backup"))
        if what == "backup":
            say("backup", db.backup(f"{path}.backup").sequence)
        else:
            getattr(db, what)()


def live(path, durability):
    chance = random.Random()
    while True:
        with embedded.open(path, **SETTINGS) as db:
            jobs = [(write, (db, n, durability, chance)) for n in range(THREADS)]
            jobs.append((keep, (db, path, chance)))
            threads = [threading.Thread(target=job, args=args) for job, args in jobs]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()


def main():
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            try:
                live(*line.split())
            finally:
                os._exit(1)  # Nobody killed it: it has found something wrong.
        say("pid", pid)
        # It stays a zombie, so that its number is nobody else's, until the parent has killed it.
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        say("dead")
        sys.stdin.readline()
        say("status", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


if __name__ == "__main__":
    main()
