"""Replaying the log: commit by commit, as long as the sequence has no gap.

What lies behind the first gap was never promised to anybody, unless a later frame says that it was
on the platter: then it is damage.

A replay may go on later where it stopped, beside a process that appends: that is how a store that
is open for reading keeps up with its writer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgpack

from conduitstore.errors import ConduitStoreError, CorruptedError
from conduitstore.kv import KEY_BYTES_MAX
from conduitstore.operations import Cut

from . import names
from .files import Directory
from .forest import Forest
from .format import HEADER_BYTES, Frame, FrameKind, Header, frames, frames_behind, seed_of
from .logfile import KIND
from .wal import Op


class Replay:
    """Applies the log from file ``start`` on to a forest; one caller at a time.

    Attributes:
        forest: where commits go.
        promised: the newest sequence that a frame said to be on the platter.
        damage: file and offset of the first place that could not be used, if there is one.
        cuts: by file, the end of it that could not be used.
        upto: no commit behind this one is applied.
    """

    def __init__(self, forest: Forest, directory: Directory, store_id: bytes, start: int) -> None:
        self.promised = 0
        self.upto = 1 << 64
        self.damage: tuple[str, int] | None = None
        self.cuts: dict[str, Cut] = {}
        self.forest = forest
        self._directory = directory
        self._store_id = store_id
        self._number = start
        self._offset = 0  # up to where that file was used; 0: not even its header
        self._seed = 0

    def advance(self) -> None:
        """Apply every commit behind the end of the last call.

        Raises:
            CorruptedError: a frame verifies and is no commit, or the first file is missing.
            FileNotFoundError: somebody else unlinked a file meanwhile.
        """
        self.damage = None
        self.cuts.clear()
        for number, name, data in self._read():
            if self._offset > 0 and number == self._number:
                self._take(name, data)
            elif len(data) >= HEADER_BYTES:
                expected = Header(KIND, self._store_id, number, self.forest.sequence + 1)
                self._seed = seed_of(data, name, expected)
                self._number, self._offset = number, HEADER_BYTES
                self._take(name, data[HEADER_BYTES:])
            elif data:
                self._cut(name, 0, len(data))  # It was being made: commits go to the one before.

    def catch_up(self) -> None:
        """:meth:`advance` and :meth:`check`, beside a process that writes into what is set aside.

        A reading may pass a place before it is written, and come to one behind it after that. So
        what it finds promised has to be there only for a reading that begins later.
        """
        known = self.promised
        self.advance()
        while known <= self.forest.sequence < self.promised:
            known, damage = self.promised, self.damage
            self.advance()
            self.damage = self.damage or damage  # Of what it read before, nothing is read again.
        self.check()

    def check(self) -> None:
        """Whether nothing is missing that was durable.

        Raises:
            CorruptedError: a commit that was on the platter cannot be read.
        """
        newest = self.forest.sequence
        if self.promised > newest:
            raise CorruptedError(
                *(self.damage or ("log", 0)),
                f"commits up to {self.promised} were on the platter, those behind {newest} cannot "
                "be read",
            )

    def _read(self) -> list[tuple[int, str, bytes]]:
        """Number, name and new bytes of the files from the current one on, in order.

        They are read from the last to the first: whoever appends meanwhile does so to the last,
        so that every other is read whole.
        """
        found = names.of_kind(names.LOG, self._directory.names())
        found = [(number, name) for number, name in found if number >= self._number]
        if not found or found[0][0] != self._number:
            missing = names.numbered(names.LOG, self._number)
            raise CorruptedError(missing, 0, "the manifest names it, but it is missing")
        read = []
        for number, name in reversed(found):
            begin = self._offset if number == self._number else 0
            try:
                file = self._directory.open(name)
            except FileNotFoundError:
                # The newest goes before an older one only where no commit is in it, such as one
                # that there was no space to make.
                if number == self._number or (number, name) != found[-1]:
                    raise
                continue
            read.append((number, name, file.read_at(begin, max(0, file.size() - begin))))
            file.close()
        return read[::-1]

    def _take(self, name: str, data: bytes) -> None:
        """Use the frames of a file that ``data``, its bytes from the offset on, begins with."""
        forest, base = self.forest, self._offset
        for frame in frames(data, self._seed, 0, base):
            at = frame.offset
            sequence, durable, count, ops = commit_of(name, at, frame)
            self.promised = max(self.promised, durable)
            if sequence == forest.sequence + 1 <= self.upto:
                _apply(forest, name, at, ops, count, sequence)
            elif sequence > forest.sequence:
                self._cut(name, at, base + len(data))
            self._offset = frame.end
        end = self._offset - base
        if end < len(data) and data.count(0, end) < len(data) - end:  # Zeros are set aside.
            self._cut(name, self._offset, base + len(data))
            for frame in frames_behind(data, end, self._seed, base):
                self.promised = max(self.promised, commit_of(name, frame.offset, frame)[1])

    def _cut(self, name: str, offset: int, end: int) -> None:
        self.damage = self.damage or (name, offset)
        self.cuts.setdefault(name, Cut(name, offset, end - offset))


def _apply(
    forest: Forest, name: str, offset: int, ops: list[Any], count: int, sequence: int
) -> None:
    try:
        forest.apply(ops, forest.prepare(ops), count, sequence)
    except ConduitStoreError:
        raise
    except MemoryError:  # Not the bytes' fault: it must not look like damage.
        raise
    except Exception as error:  # Whatever a commit to trees that do not exist makes it raise.
        raise CorruptedError(name, offset, f"not a commit: {error!r}") from error


def commit_of(name: str, offset: int, frame: Frame) -> tuple[int, int, int, list[Any]]:
    """Sequence, durable, count and operations."""
    try:
        sequence, durable, count, *ops = msgpack.unpackb(frame.payload)
        is_whole = {type(sequence), type(durable), type(count)} == {int} and len(ops) % 3 == 0
        is_whole = is_whole and all(_is_operation(*op) for op in operations(ops))
    except MemoryError:  # Not the bytes' fault: it must not look like damage.
        raise
    except Exception as error:  # Whatever hostile bytes make the decoder raise.
        raise CorruptedError(name, offset, f"not a commit: {error}") from error
    if not is_whole or frame.kind != FrameKind.COMMIT:
        raise CorruptedError(name, offset, "not a commit")
    return sequence, durable, count, ops


def operations(ops: list[Any]) -> Iterator[tuple[int, Any, Any]]:
    """Tree id, key or operation, value or operand; one by one."""
    return zip(ops[::3], ops[1::3], ops[2::3], strict=True)


def _is_operation(tree_id: Any, key: Any, value: Any) -> bool:
    if type(tree_id) is not int or tree_id < 0:
        return False
    if type(key) is bytes:
        return 0 < len(key) <= KEY_BYTES_MAX and (value is None or type(value) is bytes)
    return type(value) is str if key == Op.CREATE else key == Op.DROP and tree_id > 0
