"""What every ordered store is asked: points, commits, pages, scans."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable
from functools import partial
from threading import Barrier, Thread

from peers import Contender, Page, Write

from .arena import Arena, Line, Work
from .world import ROOMS, TREE, batches, event, history, key_of, zipfian

ROWS = 40_000
COLD_CACHE_BYTES = ROWS * 716 // 4
BATCH_TREES = (TREE, "eventid_pduid", "roomid_shortroomid", "tokenids")

_new_counts = itertools.count(10**9)


def gets(contender: Contender, keys: Iterable[bytes]) -> Work:
    get, asked = contender.getter(TREE), list(keys)
    return lambda: list(map(get, asked))


def hot(contender: Contender, chance: random.Random) -> Work:
    picked = chance.choices(range(500), k=10_000)
    return gets(contender, (key_of(n % ROOMS, n) for n in picked))


def absent(contender: Contender, chance: random.Random) -> Work:
    picked = chance.choices(range(ROWS), k=10_000)
    return gets(contender, (key_of(n % ROOMS, n) + b"\0" for n in picked))


def cold(contender: Contender, chance: random.Random) -> Work:
    picked = zipfian(chance, ROWS, 10_000)
    return gets(contender, (key_of(n % ROOMS, n) for n in picked))


def autocommit(contender: Contender, chance: random.Random) -> Work:
    rows = new_rows(chance, 2_000)

    def work() -> None:
        insert = contender.insert
        for tree, key, value in rows:
            insert(tree, key, value)

    return work


def new_rows(chance: random.Random, total: int) -> list[tuple[str, bytes, bytes]]:
    """Newest of their rooms, as events come; the same for every contender of a round."""
    start = 10**9 + chance.getrandbits(30) * 10**4
    return [(TREE, key_of(chance.randrange(ROOMS), start + n), event(chance)) for n in range(total)]


def ten_in_four_trees(contender: Contender, chance: random.Random) -> Work:
    commits = []
    start = 10**14 + chance.getrandbits(30) * 10**4
    for n in range(300):
        rows = [Write(TREE, key_of(chance.randrange(ROOMS), start + n), event(chance))]
        for tree in BATCH_TREES[1:]:
            rows += [Write(tree, chance.randbytes(32), chance.randbytes(16)) for _ in range(3)]
        commits.append(rows)

    def work() -> None:
        for rows in commits:
            contender.write(rows)

    return work


def pages(contender: Contender, chance: random.Random, *, limit: int, reverse: bool) -> Work:
    asked = []
    for _ in range(2_000 // limit * 10):
        room = chance.randrange(ROOMS)
        if reverse:
            asked.append(Page(TREE, key_of(room, 0), key_of(room + 1, 0), limit, reverse=True))
        else:
            start = chance.randrange(ROWS * 9 // 10)
            asked.append(Page(TREE, key_of(room, start), key_of(room + 1, 0), limit))
    return lambda: list(map(contender.page, asked))


def back(contender: Contender, chance: random.Random) -> Work:
    """A page of the past, read backwards from somewhere."""
    asked = []
    for _ in range(200):
        room, before = chance.randrange(ROOMS), chance.randrange(ROWS // 10, ROWS)
        asked.append(Page(TREE, key_of(room, 0), key_of(room, before), 100, reverse=True))
    return lambda: list(map(contender.page, asked))


def whole(contender: Contender, _: random.Random) -> Work:
    return lambda: sum(len(value) for _, value in contender.scan(TREE))


def mixed(contender: Contender, chance: random.Random) -> Work:
    """19 gets to an insert."""
    fresh = iter(new_rows(chance, 500))
    steps = [
        next(fresh) if n % 20 == 0 else key_of(p % ROOMS, p)
        for n, p in enumerate(chance.choices(range(ROWS), k=10_000))
    ]

    def work() -> None:
        get, insert = contender.getter(TREE), contender.insert
        for step in steps:
            if isinstance(step, bytes):
                get(step)
            else:
                insert(*step)

    return work


def durable(threads: int) -> Callable[[Contender, random.Random], Work]:
    """A commit at a time in each of so many threads."""

    def prepare(contender: Contender, chance: random.Random) -> Work:
        shares = [new_rows(chance, 256 // threads) for _ in range(threads)]
        together = Barrier(threads + 1)

        def commit_all(rows: list[tuple[str, bytes, bytes]]) -> None:
            contender.getter(TREE)(b"absent")  # SQLite has a connection for each thread: not timed.
            together.wait()
            together.wait()
            for row in rows:
                contender.insert(*row)

        running = [Thread(target=commit_all, args=(share,)) for share in shares]
        for thread in running:
            thread.start()
        together.wait()

        def work() -> None:
            together.wait()
            for thread in running:
                thread.join()

        return work

    return prepare


def arenas() -> list[Arena]:
    fill = partial(history, ROWS)
    return [
        Arena(
            "basics",
            BATCH_TREES,
            lambda: batches(fill()),
            [
                Line("get, hot", 10_000, hot, {"best": 1.2}),
                Line("get, absent", 10_000, absent),
                Line(
                    "page of 100, forward",
                    200,
                    partial(pages, limit=100, reverse=False),
                    {"best": 1.0},
                ),
                Line("page of 100, reverse", 200, back, {"best": 1.0}),
                Line(
                    "newest 10 of a room",
                    2_000,
                    partial(pages, limit=10, reverse=True),
                    {"best": 1.0},
                ),
                Line("full scan, a row", ROWS, whole, {"best": 0.9}),
                Line("insert, one in a commit", 2_000, autocommit, {"best": 1.2, "LevelDB": 0.7}),
                Line("commit of 10 in 4 trees", 300, ten_in_four_trees, {"best": 1.2}),
                Line("95 % gets, 5 % inserts", 10_000, mixed),
            ],
        ),
        Arena(
            "data 4x the cache",
            [TREE],
            lambda: batches(fill()),
            [Line("get, zipfian", 10_000, cold, {"RocksDB": 0.8, "LevelDB": 0.8})],
            cache_bytes=COLD_CACHE_BYTES,
            log_bytes=4 << 20,
        ),
        Arena(
            "durable",
            [TREE],
            lambda: batches(history(1_000)),
            [
                Line("durable commit, 1 thread", 256, durable(1), {"best": 1.0}),
                Line("durable commit, 4 threads", 256, durable(4)),
                Line("durable commit, 16 threads", 256, durable(16), {"best": 1.5}),
            ],
            is_durable=True,
        ),
    ]
