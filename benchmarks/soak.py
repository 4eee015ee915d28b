"""Live on data larger than the cache, and hold memory and disk to their bounds at every moment.

    python benchmarks/soak.py [--cache-mb 32] [--times 4] [--seconds 60] [--minutes 20] [--seed N]

Fills a store with `times` as many bytes as its cache may hold, then gets, inserts, overwrites,
deletes and scans at random for some seconds, then deletes nine rows in ten and compacts. Every
answer is compared with what was written. Every few operations two bounds are looked at:

- memory: how much the process has grown since the empty store was opened, as the system counts it,
  against the sum of `cache_capacity_bytes`, twice `dirty_bytes_max` and twice the index, with room
  between objects, and buffers: see docs/adr/0014-what-memory-is-made-of.md;
- disk: every file in the directory against twice the live bytes, what the last two checkpoints
  wrote, and the log; and the log against its own bound.

Prints both margins and ends with status 1 where a bound was passed or an answer was wrong, with 2
where it was not done in so many minutes: all but the `seconds` of random operations grows with the
data.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import sys
import tempfile
import time
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from hashlib import shake_128
from pathlib import Path
from typing import Any

from suite.deadline import at_most

from conduitstore import engine
from conduitstore.engine.embedded.config import Settings
from conduitstore.engine.embedded.manifest import REWRITE_BYTES_MIN

MIB = 1 << 20
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
VALUE_BYTES = (0, 20, 60, 150, 150, 400, 400, 700, 700, 1_400)
BLOB_BYTES = 9_000
BUFFER_BYTES = 6 * MIB
"""For what a checkpoint and a commit hold while they write: buffers, and zstd's workspace."""
ROOM_PERCENT = 15
"""How much of what is counted the allocators may take for room between objects."""
FILES_SLACK_BYTES = 2 * REWRITE_BYTES_MIN + 4_096
"""Two manifests too short to be begun anew, and the texts."""
LOOK_OPERATIONS = 50
BATCH_ROWS = 20
TREE = "soaked"


class SoakError(Exception):
    """A bound was passed, or an answer was wrong."""


def check(holds: bool, message: str) -> None:  # noqa: FBT001 - a condition
    if not holds:
        raise SoakError(message)


def key_of(number: int) -> bytes:
    """Scattered, so that neighbours in number are none in the tree."""
    return (number * 0x9E3779B97F4A7C15 % 2**64).to_bytes(8) + number.to_bytes(4)


def value_of(number: int, version: int) -> bytes:
    """Half of it random, as events are; now and then a blob."""
    seed = shake_128(b"%d %d" % (number, version))
    draw = int.from_bytes(seed.digest(2))
    size = BLOB_BYTES if draw % 200 == 0 else VALUE_BYTES[draw % len(VALUE_BYTES)]
    return seed.digest(size // 2) + b"room" * (size // 8)


class Model:
    """What the store has to hold: a version for each number, 0 where there is no row."""

    def __init__(self, total: int) -> None:
        self.versions = array("H", bytes(2 * total))
        self.order = array("I", sorted(range(total), key=key_of))

    def value(self, number: int) -> bytes | None:
        version = self.versions[number]
        return value_of(number, version) if version else None

    def rows(self, start: int = 0) -> Iterator[tuple[bytes, bytes]]:
        """In order of keys, from one position on."""
        for at in range(start, len(self.order)):
            value = self.value(self.order[at])
            if value is not None:
                yield key_of(self.order[at]), value


class Watch:
    """Looks at memory and disk, and remembers the worst."""

    def __init__(self, db: Any, directory: Path) -> None:
        self._db = db
        self._directory = directory
        gc.collect()
        self.base_bytes = resident_bytes()
        self.grown_bytes = 0
        self._index_bytes = 0
        self.share_of_space = 0.0
        self.amplification = 0.0
        self.looks_total = 0

    def memory_bound(self) -> int:
        settings: Settings = self._db.settings
        self._index_bytes = max(self._index_bytes, self._db.stats().index_bytes)
        counted = settings.cache_capacity_bytes + 2 * settings.dirty_bytes_max
        counted += 2 * self._index_bytes
        return counted * (100 + ROOM_PERCENT) // 100 + BUFFER_BYTES

    def look(self) -> None:
        self.looks_total += 1
        self.grown_bytes = max(self.grown_bytes, resident_bytes() - self.base_bytes)
        before = self._db.space
        sizes = file_sizes(self._directory)
        live, written = map(max, before, self._db.space)
        logs = sum(size for name, size in sizes.items() if name.startswith("log"))
        others = sum(sizes.values()) - logs
        bound = 2 * live + written + FILES_SLACK_BYTES
        check(others <= bound, f"files have {others} bytes; their bound is {bound}")
        settings = self._db.settings
        log_bound = 4 * settings.checkpoint_log_bytes + settings.log_keep_bytes + MIB
        check(logs <= log_bound, f"logs have {logs} bytes; their bound is {log_bound}")
        self.share_of_space = max(self.share_of_space, others / bound)
        if live > MIB:
            self.amplification = max(self.amplification, others / live)

    def report(self, phase: str) -> None:
        bound = self.memory_bound()
        check(self.grown_bytes <= bound, f"{phase}: grown by {self.grown_bytes}; bound {bound}")
        stats = self._db.stats()
        print(
            f"{phase:<8} memory {self.grown_bytes / MIB:6.1f} of {bound / MIB:6.1f} MiB "
            f"({self.grown_bytes / bound:4.0%}; cache {stats.cache_bytes / MIB:.1f}, "
            f"index {stats.index_bytes / MIB:.1f}, dirty {stats.dirty_bytes / MIB:.1f})  "
            f"files {stats.size_on_disk_bytes / MIB:6.1f} MiB, live {stats.live_bytes / MIB:6.1f}, "
            f"at most {self.share_of_space:.0%} of their bound, {self.amplification:.2f} x live",
            flush=True,
        )


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


def file_sizes(directory: Path) -> dict[str, int]:
    sizes = {}
    with os.scandir(directory) as entries:
        for entry in entries:
            try:
                sizes[entry.name] = entry.stat().st_size
            except FileNotFoundError:
                continue  # A checkpoint unlinked it meanwhile.
    return sizes


def fill(db: Any, model: Model, watch: Watch, data_bytes: int) -> int:
    """Insert numbers from 0 on until so many bytes are in; gives how many that were."""
    filled_bytes = total = 0
    while filled_bytes < data_bytes:
        batch = engine.Batch()
        for number in range(total, total + BATCH_ROWS):
            model.versions[number] = 1
            value = value_of(number, 1)
            batch.insert(TREE, key_of(number), value)
            filled_bytes += 12 + len(value)
        db.apply_batch(batch)
        total += BATCH_ROWS
        if total % (10 * BATCH_ROWS) == 0:
            watch.look()
    return total


def live_on(tree: Any, model: Model, watch: Watch, chance: random.Random, seconds: float) -> int:
    """Operations at random; gives how many."""
    total, until = 0, time.monotonic() + seconds
    numbers = len(model.versions)
    while time.monotonic() < until:
        for _ in range(LOOK_OPERATIONS):
            number, draw = chance.randrange(numbers), chance.random()
            if draw < 0.5:
                check(tree.get(key_of(number)) == model.value(number), "get: another value")
            elif draw < 0.85:
                overwrite(tree, model, number)
            elif draw < 0.95:
                check(tree.remove(key_of(number)) == model.value(number), "remove: another value")
                model.versions[number] = 0
            else:
                scan(tree, model, number, chance.randrange(1, 60))
        total += LOOK_OPERATIONS
        watch.look()
    return total


def overwrite(tree: Any, model: Model, number: int) -> None:
    old, version = model.value(number), model.versions[number] % 0xFFFF + 1
    check(tree.insert(key_of(number), value_of(number, version)) == old, "insert: another old")
    model.versions[number] = version


def scan(tree: Any, model: Model, number: int, limit: int) -> None:
    start = bisect_left(model.order, key_of(number), key=key_of)
    expected = [row for row, _ in zip(model.rows(start), range(limit), strict=False)]
    check(list(tree.range(key_of(number), limit=limit)) == expected, "range: other rows")


def thin_out(tree: Any, model: Model, watch: Watch) -> None:
    """Delete nine rows in ten."""
    for number in range(len(model.versions)):
        if number % 10:
            tree.remove(key_of(number))
            model.versions[number] = 0
        if number % (10 * LOOK_OPERATIONS) == 0:
            watch.look()


def check_all(tree: Any, model: Model) -> None:
    rows = tree.range()
    for expected in model.rows():
        check(next(rows, None) == expected, "other rows than were written")
    check(next(rows, None) is None, "more rows than were written")


def soak(directory: Path, *, cache_bytes: int, times: int, seconds: float, seed: int) -> None:
    settings = {
        "cache_capacity_bytes": cache_bytes,
        "dirty_bytes_max": cache_bytes // 2,
        "checkpoint_log_bytes": cache_bytes // 4,
        "segment_bytes_target": cache_bytes // 4,
        "flush_every_ms": 50,
    }
    model = Model(times * cache_bytes // 300)
    with engine.open(directory, **settings) as db:
        total = live(db, directory, model, times * cache_bytes, seconds, random.Random(seed))
    with engine.open(directory, **settings) as db:
        check(list(db.verify()) == [], "verify found damage")
        check_all(db.open_tree(TREE), model)
    print(f"{total} operations, and all rows as they were written; every bound held")


def live(
    db: Any, directory: Path, model: Model, data_bytes: int, seconds: float, chance: random.Random
) -> int:
    """The phases of a life, each with its report; gives how many operations were made."""
    tree, watch = db.open_tree(TREE), Watch(db, directory)
    fill(db, model, watch, data_bytes)
    watch.report("filled")
    total = live_on(tree, model, watch, chance, seconds)
    watch.report("lived")
    check_all(tree, model)
    watch.look()
    watch.report("scanned")
    thin_out(tree, model, watch)
    watch.report("thinned")
    db.compact()
    watch.look()
    watch.report("compact")
    files, live_bytes = db.size_on_disk(), db.stats().live_bytes
    check(files < 1.3 * live_bytes + 2 * MIB, f"{files} bytes left where {live_bytes} live")
    return total


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--cache-mb", type=int, default=32)
    arguments.add_argument("--times", type=int, default=4, help="how much more data than cache")
    arguments.add_argument("--seconds", type=float, default=60)
    arguments.add_argument("--minutes", type=float, default=20, help="for all of it, at most")
    arguments.add_argument("--seed", type=int, default=random.randrange(2**32))
    options = arguments.parse_args()
    print(f"cache {options.cache_mb} MiB, data {options.times} times that, seed {options.seed}")
    with (
        at_most(options.minutes),
        tempfile.TemporaryDirectory(prefix="conduitstore-soak-") as name,
    ):
        try:
            soak(
                Path(name) / "store",
                cache_bytes=options.cache_mb * MIB,
                times=options.times,
                seconds=options.seconds,
                seed=options.seed,
            )
        except SoakError as failure:
            sys.exit(str(failure))


if __name__ == "__main__":
    main()
