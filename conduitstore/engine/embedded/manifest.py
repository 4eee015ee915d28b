"""The manifest: which leaf of which tree lies where, and from which log file to replay.

- A manifest file is written under a ``.new`` name, synced and renamed: one that has its name is
  whole up to its last synced frame. The highest number counts.
- Its first frame holds a whole generation; each later one what the next generation changes, or
  raised ceilings. A torn tail is a generation that was never published.
- Every open begins a new file, so nothing is appended behind a torn tail.

Frames are msgpack, compressed where that makes them shorter.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from itertools import chain
from operator import itemgetter

import msgpack
import zstandard

from conduitstore.errors import CorruptedError, StoreFullError
from conduitstore.kv import DEFAULT_TREE

from . import names
from .compression import compressed, decompressed
from .files import Directory, File, append_whole, create_file
from .format import (
    COMPRESSED,
    HEADER_BYTES,
    Frame,
    FrameKind,
    Header,
    decode_header,
    encode_frame,
    frames,
    frames_behind,
)

KIND = b"M"
FORK_GAP = 1 << 32
"""How far above its sequence, and its ceiling of the count, a store goes on that is a copy of
another one, or not sure of its own: so that no number comes twice."""
FORK_GAP_IDS = 1 << 48
"""The same of ids, of which one reservation takes any number."""
NUMBER_MAX = (1 << 48) - 1
"""No file is so long, and there are not so many files."""
ENTRIES_MAX = (1 << 32) - 1
"""No leaf has so many: each takes a byte of its frame at least."""
REWRITE_BYTES_MIN = 64 * 1024
"""A shorter file is never begun anew for its length."""

LeafRow = tuple[int, ...]
"""Segment number, offset, frame bytes, entries, bytes of keys and values; then for each segment
that holds blobs of the leaf: its number, and bytes of their frames there."""
LeafRows = dict[int, dict[bytes, LeafRow | None]]
"""By tree id and low key; None takes a leaf away."""


@dataclass(frozen=True, slots=True)
class Ceilings:
    """Numbers that no holder of the store ever gave out are above these."""

    count: int = 0
    ids: int = 0

    def raised_to(self, other: Ceilings) -> Ceilings:
        """The higher of both, each for itself."""
        return Ceilings(max(self.count, other.count), max(self.ids, other.ids))

    def raised_by(self, forks: int) -> Ceilings:
        """Above all that so many other stores, each begun above the one before, will give out."""
        return Ceilings(self.count + forks * FORK_GAP, self.ids + forks * FORK_GAP_IDS)


@dataclass(frozen=True, slots=True)
class Generation:
    """All a checkpoint publishes; as CHANGES, ``leaves`` holds only what differs.

    ``leaves`` maps tree ids to low keys to leaf rows; a row of None takes that leaf away.
    """

    generation: int
    sequence: int  # the commits up to here are in the leaves
    log_start: int  # the first log file with commits behind them
    previous_log_start: int
    count: int  # newest visible
    drawn: int  # newest drawn: the same unless a draw was rolled back
    ids: int  # the next id
    ceilings: Ceilings
    is_clean: bool  # written by close: the numbers above are exact
    fork: int  # of a backup: how many gaps above this a store that is made of it begins; else 0
    incarnations: tuple[tuple[int, int], ...]  # first file number and id of each, oldest first
    trees: dict[int, str]
    next_tree_id: int
    leaves: LeafRows = field(default_factory=dict)

    @property
    def rows_total(self) -> int:
        """How many leaves and trees it names."""
        return len(self.trees) + sum(map(len, self.leaves.values()))

    def encode(self) -> bytes:
        """The payload, not yet compressed."""
        row = {f.name: getattr(self, f.name) for f in fields(self)}
        row["ceilings"] = [self.ceilings.count, self.ceilings.ids]
        packed: bytes = msgpack.packb(row)
        return packed

    @classmethod
    def decode(cls, payload: bytes) -> Generation:
        """The opposite; any exception means that the bytes are none of ours."""
        row = msgpack.unpackb(payload, strict_map_key=False, use_list=False)
        row["ceilings"] = Ceilings(*row["ceilings"])
        row["incarnations"] = tuple((int(first), int(id)) for first, id in row["incarnations"])
        generation = cls(**{f.name: row[f.name] for f in fields(cls)})
        generation.check()
        return generation

    def check(self) -> None:
        """Refuse what no checkpoint writes, before anybody counts on it."""
        numbers = [getattr(self, f.name) for f in fields(self) if f.type == "int"]
        numbers += [self.ceilings.count, self.ceilings.ids, *self.trees, *self.leaves]
        if (
            set(map(type, numbers)) != {int}
            or min(numbers) < 0
            or self.trees.get(0) != DEFAULT_TREE
            or set(map(type, self.trees.values())) != {str}
            or len(set(self.trees.values())) != len(self.trees)
            or not self.next_tree_id > max(self.trees)
            or not self.trees.keys() >= self.leaves.keys()
            or not set(map(type, chain.from_iterable(self.leaves.values()))) <= {bytes}
            or not _are_leaf_rows(rows_in(self.leaves))
        ):
            raise ValueError("not a generation")

    def incarnation_of(self, number: int) -> int:
        """In whose life the file of that number was written: two stores may share only some."""
        return max((one for one in self.incarnations if one[0] <= number), default=(0, 0))[1]

    def unsure(self) -> Generation:
        """The same where its numbers may not be the newest that were given out."""
        raised = self.ceilings.raised_to(Ceilings(self.drawn, self.ids)).raised_by(1)
        return replace(self, ceilings=raised, is_clean=False)

    def followed_by(self, changes: Generation) -> Generation:
        """The next whole generation."""
        leaves = {tree: dict(self.leaves.get(tree, {})) for tree in changes.trees}
        for tree, rows in changes.leaves.items():
            leaves[tree].update(rows)
            for low in [low for low, row in rows.items() if row is None]:
                del leaves[tree][low]
        return replace(changes, leaves=leaves, ceilings=self.ceilings.raised_to(changes.ceilings))


def _are_leaf_rows(rows: list[LeafRow]) -> bool:
    """Columns are looked at, not rows: of those there are as many as leaves."""
    if not rows:
        return True
    if set(map(type, rows)) != {tuple}:
        return False
    lengths, numbers = set(map(len, rows)), list(chain.from_iterable(rows))
    return (
        min(lengths) >= 5
        and all(length % 2 for length in lengths)
        and set(map(type, numbers)) == {int}
        and 0 <= min(numbers) <= max(numbers) <= NUMBER_MAX
        and min(totals := list(map(_ENTRIES, rows))) >= 1
        and max(totals) <= ENTRIES_MAX
    )


_SEGMENT, _ENTRIES = itemgetter(0), itemgetter(3)


def rows_in(leaves: LeafRows) -> list[LeafRow]:
    """The rows of all leaves that are not taken away."""
    every = chain.from_iterable(rows.values() for rows in leaves.values())
    return [row for row in every if row is not None]


def segments_of(row: LeafRow) -> set[int]:
    """The numbers of the segments that a leaf and its blobs lie in."""
    return {row[0], *row[5::2]}


def segments_in(leaves: LeafRows) -> set[int]:
    """The numbers of all segments that rows name."""
    rows = rows_in(leaves)
    named = set(map(_SEGMENT, rows))
    return named.union(*(row[5::2] for row in rows if len(row) > 5))


def _packed(payload: bytes) -> tuple[bytes, int]:
    packed, is_compressed = compressed(payload, zstandard.ZstdCompressor(level=3))
    return packed, COMPRESSED if is_compressed else 0


def unpacked(frame: Frame) -> bytes:
    """A frame's payload; ``ValueError`` where it claims to become too large."""
    if not frame.flags & COMPRESSED:
        return frame.payload
    return decompressed(frame.payload)


class Manifest:
    """The manifest file of an open store; one caller at a time.

    It counts what it tells: a row of each leaf and name of a tree, each time it says it. Once that
    is more than twice what there is, a new file would be half as long.
    """

    def __init__(self, directory: Directory, store_id: bytes, number: int) -> None:
        self._directory = directory
        self._header = Header(KIND, store_id, number)
        self.number = number
        self.size_bytes = 0
        self._rows_total = 0
        self._file: File | None = None

    @property
    def name(self) -> str:
        """The file's published name."""
        return names.numbered(names.MANIFEST, self.number)

    def publish(self, generation: Generation) -> None:
        """Begin this file with a whole generation: durable, then visible, then durably visible."""
        payload, flags = _packed(generation.encode())
        seed = self._header.seed
        frame = encode_frame(seed, HEADER_BYTES, FrameKind.WHOLE, payload, flags)
        data = self._header.encode() + frame
        file = create_file(self._directory, self.name + names.NEW)
        try:
            append_whole(file, data, 0)
        except StoreFullError:
            file.close()
            self._directory.unlink(self.name + names.NEW)
            raise
        file.sync()
        self._directory.rename(self.name + names.NEW, self.name)
        self._directory.sync()
        self._file = file
        self.size_bytes = len(data)
        self._rows_total = generation.rows_total

    def append(self, kind: FrameKind, payload: bytes) -> None:
        """Append one frame, durably.

        Raises:
            StoreFullError: no space; the file is as it was.
            OSError: the store has to be latched.
        """
        assert self._file is not None
        frame = encode_frame(self._header.seed, self.size_bytes, kind, *_packed(payload))
        append_whole(self._file, frame, self.size_bytes)
        self._file.sync()
        self.size_bytes += len(frame)
        self._rows_total += 1

    def append_changes(self, changes: Generation) -> None:
        """Publish the next generation."""
        self.append(FrameKind.CHANGES, changes.encode())
        self._rows_total += changes.rows_total

    def append_ceilings(self, ceilings: Ceilings) -> None:
        """Raise the ceilings."""
        self.append(FrameKind.CEILINGS, msgpack.packb([ceilings.count, ceilings.ids]))

    def is_long(self, rows_total: int) -> bool:
        """Whether a new file, with so many rows, would be much shorter than this one."""
        return self.size_bytes > REWRITE_BYTES_MIN and self._rows_total > 2 * rows_total

    def whole_bytes(self, rows_total: int) -> int:
        """About how long a new file would be."""
        return self.size_bytes * min(rows_total, self._rows_total) // max(self._rows_total, 1)

    def close(self) -> None:
        assert self._file is not None
        self._file.close()


def read_manifest(directory: Directory, number: int) -> tuple[Header, Generation]:
    """The newest generation in a manifest file, with its ceilings raised.

    Where the file goes on behind its last whole frame, that was raised ceilings, perhaps: torn
    before anything counted on them, or damaged after. Then they are raised far.

    Raises:
        CorruptedError: the file is damaged in a way that no crash explains.
        UnsupportedFormatError: a newer release wrote it.
    """
    name = names.numbered(names.MANIFEST, number)
    file = directory.open(name)
    data = file.read_at(0, file.size())
    file.close()
    header = decode_header(data, name, KIND)
    if header.number != number:
        raise CorruptedError(name, 0, f"it says it is number {header.number}")
    found = list(frames(data, header.seed))
    end = found[-1].end if found else HEADER_BYTES
    if any(frames_behind(data, end, header.seed)):
        raise CorruptedError(name, end, "a frame is damaged that was whole once")
    generation: Generation | None = None
    for frame in found:
        generation = _followed(name, generation, frame)
    if generation is None:
        raise CorruptedError(name, HEADER_BYTES, "no whole generation stands at its beginning")
    return header, generation.unsure() if end < len(data) else generation


def generations(directory: Directory, number: int) -> Iterator[Generation]:
    """Every generation that a manifest file still tells of, oldest first."""
    name = names.numbered(names.MANIFEST, number)
    file = directory.open(name)
    data = file.read_at(0, file.size())
    file.close()
    generation: Generation | None = None
    for frame in frames(data, decode_header(data, name, KIND).seed):
        generation = _followed(name, generation, frame)
        yield generation


def _followed(name: str, generation: Generation | None, frame: Frame) -> Generation:
    try:
        return _follow(generation, frame.kind, unpacked(frame))
    except MemoryError:  # Not the bytes' fault: it must not look like damage.
        raise
    except Exception as error:  # Whatever hostile bytes make the decoders raise.
        raise CorruptedError(name, frame.offset, f"not a manifest frame: {error}") from error


def _follow(generation: Generation | None, kind: int, payload: bytes) -> Generation:
    if kind == FrameKind.WHOLE and generation is None:
        return Generation.decode(payload)
    if generation is None:
        raise ValueError("a change without anything it changes")
    if kind == FrameKind.CHANGES:
        return generation.followed_by(Generation.decode(payload))
    if kind == FrameKind.CEILINGS:
        raised = Ceilings(*msgpack.unpackb(payload))
        return replace(generation, ceilings=generation.ceilings.raised_to(raised))
    raise ValueError(f"a frame of kind {kind}")
