"""Where the time of an operation goes: the engine's own stages and the calls into C below them.

Each is replaced by a function that notes the time of a call without that of watched calls inside
it. What the noting itself costs is measured on a function that does nothing, and taken off.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgpack

from conduitstore.engine.embedded import batches, compression, files, leaf, page
from conduitstore.engine.embedded import format as frames
from conduitstore.engine.embedded.cache import Cache
from conduitstore.engine.embedded.database import Database
from conduitstore.engine.embedded.forest import Forest
from conduitstore.engine.embedded.snapshot import Snapshot
from conduitstore.engine.embedded.tree import LiveTree, RootReads
from conduitstore.engine.embedded.wal import WriteAheadLog
from conduitstore.kv import Batch

STAGES: list[tuple[str, Any, str]] = [
    ("write, the system call", os, "pwrite"),
    ("fdatasync", files, "_sync"),
    ("fsync", os, "fsync"),
    ("pread", os, "pread"),
    ("zstd", compression, "compressed"),
    ("zstd", compression, "decompressed"),
    ("msgpack", msgpack, "packb"),
    ("msgpack", msgpack, "unpackb"),
    ("checksum", frames, "crc32"),
    ("frame around a payload", frames, "encode_frame"),
    ("frame around a payload", frames, "decode_frame"),
    ("leaf from its bytes", leaf, "decode_leaf"),
    ("leaf to its bytes", leaf, "encode_leaf"),
    ("append to the log", WriteAheadLog, "append"),
    ("share a sync", WriteAheadLog, "sync"),
    ("batch to operations", batches, "placed"),
    ("find leaves to change", Forest, "place"),
    ("change leaves", Forest, "apply"),
    ("commit, and wait for the writer lock", LiveTree, "_write"),
    ("commit, and wait for the writer lock", Database, "apply_batch"),
    ("fill a batch", Batch, "insert"),
    ("fill a batch", Batch, "remove"),
    ("cache", Cache, "contents"),
    ("snapshot", Database, "snapshot"),
    ("open a tree of it", Snapshot, "open_tree"),
    ("get", RootReads, "get"),
    ("range", RootReads, "range"),
    ("page of a range", page, "page_of"),
]
BACKGROUND = "conduitstore-flusher"
CALIBRATING_CALLS = 500
CALIBRATING_ROUNDS = 100

_now = time.perf_counter_ns


Spent = dict[str, tuple[int, int]]
"""By stage, how many calls, and how many nanoseconds."""


class _OfThread(threading.local):
    """What one thread has spent; what the store's own thread does is nobody's operation."""

    def __init__(self, threads: list[dict[str, list[int]]]) -> None:
        self.inside = [0]  # of each watched call that runs: nanoseconds of watched calls in it
        self.spent: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        if threading.current_thread().name != BACKGROUND:
            threads.append(self.spent)


class Watch:
    """What the watched stages took, between ``begin`` and ``end``."""

    def __init__(self) -> None:
        self._threads: list[dict[str, list[int]]] = []
        self._mine = _OfThread(self._threads)
        self._within_ns = self._around_ns = 0
        self._calibrate()

    @property
    def noting_ns(self) -> int:
        """What it adds to the time of whatever makes a watched call."""
        return self._within_ns + self._around_ns

    def _calibrate(self) -> None:
        """Find out what noting adds to a call's own time, and to that of who calls it."""

        def nothing() -> None: ...

        noting = self.watched("nothing", nothing)
        best = [1 << 62] * 3
        for _ in range(CALIBRATING_ROUNDS):
            self._mine.spent.clear()
            bare, watched = _timed(nothing), _timed(noting)
            own = self._mine.spent["nothing"][1]
            best = list(map(min, best, (bare, own, watched)))
        bare, own, watched = (total // CALIBRATING_CALLS for total in best)
        self._within_ns, self._around_ns = max(0, own - bare), max(0, watched - max(own, bare))

    def watched(self, stage: str, fn: Callable[..., Any]) -> Callable[..., Any]:
        """``fn``, noted."""
        mine = self._mine

        def noting(*args: Any, **kwargs: Any) -> Any:
            inside = mine.inside
            inside.append(0)
            began = _now()
            try:
                return fn(*args, **kwargs)
            finally:
                took = _now() - began
                spent = mine.spent[stage]
                spent[0] += 1
                spent[1] += took - inside.pop() - self._within_ns
                inside[-1] += took + self._around_ns

        return noting

    def begin(self) -> None:
        self._mine.spent.clear()
        self._threads[:] = [self._mine.spent]

    def end(self) -> tuple[int, Spent]:
        """How many threads were at work, and what they spent together."""
        total: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        for spent in self._threads:
            for stage, (calls, taken_ns) in spent.items():
                total[stage][0] += calls
                total[stage][1] += taken_ns
        others = len(self._threads) - 1
        return max(1, others), {stage: (calls, ns) for stage, (calls, ns) in total.items()}


def _timed(fn: Callable[[], object]) -> int:
    began = _now()
    for _ in range(CALIBRATING_CALLS):
        fn()
    return _now() - began


@contextmanager
def watching(watch: Watch) -> Iterator[None]:
    """All stages are watched, in stores that are opened meanwhile."""
    undo: list[tuple[Any, str, Any]] = []

    def replace(owner: Any, name: str, new: Any) -> None:
        undo.append((owner, name, getattr(owner, name)))
        setattr(owner, name, new)

    packer = msgpack.Packer

    class WatchedPacker:
        def __init__(self) -> None:
            self.pack = watch.watched("msgpack", packer().pack)

    try:
        replace(msgpack, "Packer", WatchedPacker)
        for stage, owner, name in STAGES:
            old = getattr(owner, name)
            new = watch.watched(stage, old)
            replace(owner, name, new)
            for module in _modules():  # Where it was imported by name.
                if vars(module).get(name) is old:
                    replace(module, name, new)
        yield
    finally:
        for owner, name, old in reversed(undo):
            setattr(owner, name, old)


def _modules() -> list[Any]:
    return [module for name, module in sys.modules.items() if name.startswith("conduitstore.")]
