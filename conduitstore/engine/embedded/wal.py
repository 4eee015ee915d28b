"""The write-ahead log: one frame per commit, across all trees.

A commit's payload is msgpack ``[sequence, durable, count, tree, key, value, ...]``:

- ``sequence`` rises by one from frame to frame and from file to file: a gap is the end.
- ``durable`` is a sequence that was on the platter when this frame was written. It tells a torn
  tail (nothing later was promised) from damage (something later was).
- ``count`` is the newest visible count after the commit.
- Each (tree, key, value) is a write; a value of nil is a removal. Where ``key`` is a number it is
  an :class:`Op` on the whole tree, with its operand as the value.

Behind the last frame there may be zeros, set aside for the next ones. What is written into them
changes neither the file's length nor where it lies, so a sync has nothing else to put on the
platter. And it cannot lack space: so commits that will be waited for are held in memory, until
whoever syncs writes all of them at once; others are copied to where the file is mapped.

Threads: ``append`` and ``rotate`` need the writer lock; ``sync`` is for anybody. A file that was
found by recovery is never appended to.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
from enum import IntEnum

from conduitstore.errors import ClosedError, PoisonedError, StoreFullError
from conduitstore.kv import Durability

from .files import Directory
from .format import HEADER_BYTES, FrameKind, encode_frame
from .logfile import LogFile

COMMIT = int(FrameKind.COMMIT)  # Looked up once: an enum's members take long.
NO_WAITING = (False,)
YIELDS_MAX = 16
"""How often the thread that syncs lets others run first, where others waited for the last sync."""
SYNC_WAIT_S = 1.0
"""Who waits for another thread's sync looks again after so long, should that have been killed."""


class Op(IntEnum):
    """A write to a whole tree."""

    CREATE = 0  # operand: its name
    DROP = 1


class WriteAheadLog:
    """The log of an open store. Sequences at or below ``durable`` survive power loss."""

    def __init__(
        self,
        directory: Directory,
        store_id: bytes,
        *,
        number: int,
        sequence: int,
        on_durable: Callable[[int], None],
    ) -> None:
        self._directory = directory
        self._store_id = store_id
        self._on_durable = on_durable
        self._sync_lock = threading.Lock()
        self._syncs_ended_total = 0
        self._waiters: list[threading.Lock] = []  # one of each thread that waits, which it holds
        self._served_total = 0
        self._files_lock = threading.Lock()
        self._file = LogFile(directory, store_id, number, sequence + 1)
        self._unsynced: tuple[LogFile, ...] = (self._file,)
        self._writing = threading.Lock()  # for whoever takes from what is held
        # Commits still in memory: sequence and frame. Whoever has the writer lock adds to it, who
        # writes takes away; it is always the same list.
        self._held: list[tuple[int, bytes]] = []
        self.size_bytes = self._file.size_bytes
        """How long the current file is, with what waits to be written to it."""
        self.appended = sequence
        self.written = sequence
        self.durable = sequence
        self.failure: BaseException | None = None

    @property
    def number(self) -> int:
        """The number of the file that commits go to now."""
        return self._file.number

    @property
    def commits_bytes(self) -> int:
        """The same without what a file has before its first commit."""
        return self.size_bytes - HEADER_BYTES

    @property
    def file_bytes(self) -> int:
        """How much of the current file is written, without what is set aside."""
        return self._file.size_bytes

    @property
    def is_empty(self) -> bool:
        """Whether the current file has no commit yet."""
        return self.size_bytes == HEADER_BYTES

    def append(self, sequence: int, payload: bytes, durability: Durability) -> None:
        """Hand one commit to the kernel, or hold it in memory until a later write.

        Held is what nobody waits for, and what will be waited for and has room in the file.

        Raises:
            StoreFullError: nothing was written.
        """
        file = self._file
        frame = encode_frame(file.seed, self.size_bytes, COMMIT, payload)
        end = self.size_bytes + len(frame)
        waits = durability == "commit"
        if durability == "none" or (waits and end <= file.length_bytes):
            self._held.append((sequence, frame))
        else:
            if self._held:
                self.write_held()  # Then nobody else has anything to write.
            if end <= file.mapped_bytes:
                file.mapped[self.size_bytes : end] = frame
                file.size_bytes, self.written = end, sequence
            else:
                file.mapped_bytes = 0  # Where there is no space the file is cut.
                file.size_bytes, self.written = file.write(frame), sequence
                if waits or file.can_map:
                    file.set_aside()
        self.size_bytes = end
        self.appended = sequence

    def write_held(self) -> None:
        """Hand what is held in memory to the kernel."""
        with self._writing:
            if self._held:
                self._write(self._held[:])

    def _write_awaited(self) -> None:
        """Hand those commits to the kernel that will be waited for: they have room."""
        with self._writing:
            file, held = self._file, self._held[:]
            end = file.size_bytes + sum(len(frame) for _, frame in held)
            while end > file.length_bytes:  # Nobody waits for these.
                end -= len(held.pop()[1])
            if not held:
                return
            try:
                self._write(held)
            except StoreFullError as error:
                raise OSError(errno.ENOSPC, "what was set aside is not there") from error

    def _write(self, held: list[tuple[int, bytes]]) -> None:
        """Write these, the first of what is held."""
        file = self._file
        end = file.write(b"".join([frame for _, frame in held]), file.length_bytes)
        # Without a call in between: whatever interrupts this, the next one writes on, or anew.
        file.size_bytes, self.written, self._held[: len(held)] = end, held[-1][0], []

    def rotate(self, number: int, sequence: int = 0) -> None:
        """Go on in a new file; behind ``sequence``, if that is above the newest."""
        self.write_held()
        sequence = max(sequence, self.appended)
        done = self._file
        self._file = LogFile(self._directory, self._store_id, number, sequence + 1)
        done.unmap()  # Only now: where there is no space for a new file, commits go on in this.
        self.size_bytes = self._file.size_bytes
        self.appended = self.written = sequence
        with self._files_lock:
            self._unsynced = (*self._unsynced, self._file)

    def sync(self, sequence: int) -> None:
        """Return once ``sequence``, of a commit that is written or will be waited for, is durable.

        One thread syncs for all that wait; when it is done they are told at once, so that nobody
        whose commit it covered waits for the next sync too.

        Raises:
            PoisonedError: a sync failed, now or before. It is never tried again, since the kernel
                may have dropped the pages that it could not write.
        """
        while self.durable < sequence:
            ended_total = self._syncs_ended_total
            if not self._lead(sequence):
                told = threading.Lock()
                told.acquire()
                self._waiters.append(told)
                if ended_total == self._syncs_ended_total:  # Else nobody may have seen it there.
                    told.acquire(timeout=SYNC_WAIT_S)

    def _lead(self, sequence: int) -> bool:
        """Sync for all that wait, unless another thread does."""
        taken: list[bool] = []
        try:
            # One call into C: an interrupt comes before it, or finds what it did.
            taken.extend(map(self._sync_lock.acquire, NO_WAITING))
            if taken[0]:
                self._sync_for(sequence)
        finally:
            if True in taken:
                self._sync_lock.release()
                self._tell()
        return taken[0]

    def _sync_for(self, sequence: int) -> None:
        """Sync, once and never after a failure."""
        if self.durable >= sequence:
            return
        if self.failure is not None:
            raise PoisonedError(
                "a sync of the log failed: close the store and open it again"
            ) from self.failure
        expected = self.durable + self._served_total
        for _ in range(YIELDS_MAX):
            if self.appended > expected:
                break
            time.sleep(0)  # Let those whom the last sync served bring their next commits.
        try:
            self._sync()
        except Exception as error:
            self.failure = error
            raise

    def _tell(self) -> None:
        """A sync has ended, this way or that.

        Two threads may tell at once, but neither statement behind the first calls anything, so that
        the interpreter lets nobody in between: no waiter is missed, and none told twice.
        """
        self._on_durable(self.durable)  # Without the lock: a callback may close the store.
        self._syncs_ended_total += 1
        waiters, self._waiters = self._waiters, []
        self._served_total = len(waiters)
        for told in waiters:
            told.release()

    def sync_files(self) -> None:
        """Put the files and their names on the platter, even if no commit is in them."""
        try:
            with self._sync_lock:
                self._sync()
        finally:
            self._tell()

    def _sync(self) -> None:
        self._write_awaited()
        written = self.written  # Before the files: each file up to it is then among them.
        files = self._unsynced
        for file in files:
            file.sync()
        if not all(file.is_named for file in files):
            self._directory.sync()
            for file in files:
                file.is_named = True
        # The last one may have got more commits, and a successor, since it was synced.
        with self._files_lock:
            self._unsynced = tuple(f for f in self._unsynced if f not in files[:-1])
        for file in files[:-1]:
            file.close()
        self.durable = written

    def close(self) -> None:
        """Close the files; nothing is written or synced."""
        with self._sync_lock:  # Not under a sync's hands: its file number may soon be another's.
            self.failure = self.failure or ClosedError("the log is closed")
            for file in (*self._unsynced, self._file):
                file.close()
