"""What can be read of a damaged store: every frame that verifies, whatever is around it.

- A header that does not verify is known from the others: whose store it is, and the file's name say
  what it must have been. Frames that verify by that are the file's.
- A manifest's frame counts although one before it is damaged, where generations go up by one: then
  only raised ceilings are missing.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace

import msgpack

from conduitstore.errors import CorruptedError, UnsupportedFormatError
from conduitstore.operations import Damage

from . import names
from .files import Directory, File
from .format import FRAME_BYTES, HEADER_BYTES, MAGIC, Frame, FrameKind, Header, decode_header
from .manifest import FORK_GAP, Ceilings, Generation, unpacked
from .pieces import Gap, ignore, pieces
from .verify import KINDS

UNKNOWN_FORKS = 1 << 12
"""How many gaps counts and ids go up where no ceiling of them is left."""
KEPT_GENERATIONS = 2
STORE_ID = slice(24, 40)
"""Where a header has it."""


@dataclass(slots=True)
class Known:
    """What all manifests together still say of the whole store."""

    ceilings: Ceilings | None = None
    generation: int = 0  # the newest there was
    sequences: dict[int, int] = field(default_factory=dict)  # by generation
    newest: Generation | None = None  # its leaves may be only those that changed
    tree_names: dict[int, str] = field(default_factory=dict)

    def add(self, found: Generation) -> None:
        """Take note of a generation."""
        self.raise_ceilings(found.ceilings.raised_to(Ceilings(found.drawn, found.ids)))
        self.sequences[found.generation] = found.sequence
        self.tree_names |= found.trees
        if found.generation >= self.generation:
            self.generation, self.newest = found.generation, found

    def raise_ceilings(self, found: Ceilings) -> None:
        """Take note of ceilings."""
        self.ceilings = found.raised_to(self.ceilings or found)

    @property
    def newest_sequence(self) -> int:
        """The newest commit that any generation has."""
        return max(self.sequences.values(), default=0)

    @property
    def _forks(self) -> int:
        return UNKNOWN_FORKS if self.ceilings is None else 1

    @property
    def gap(self) -> int:
        """How far the sequence goes on above all that is known."""
        return self._forks * FORK_GAP

    def safe(self, found: Generation) -> Generation:
        """``found``, going on above all that was ever given out, as far as anybody can tell."""
        ceilings = (self.ceilings or Ceilings()).raised_by(self._forks)
        generation = max(found.generation, self.generation)
        return replace(found, ceilings=ceilings, generation=generation, is_clean=False)

    def sequence_of(self, generation: int) -> int:
        """A commit that is in every leaf of that generation; 0: nobody knows one."""
        return max((s for g, s in self.sequences.items() if g <= generation), default=0)


class Remains:
    """The files of one store that is not open.

    Attributes:
        files: number and name of every numbered file, by kind, in order.
        spoiled: names of the files that are not whole.
        damages: what is wrong with them, as far as it was read.
    """

    def __init__(self, directory: Directory) -> None:
        self.directory = directory
        found = directory.names()
        self.files = {kind: names.of_kind(kind, found) for kind in KINDS}
        self.spoiled: set[str] = set()
        self.damages: list[Damage] = []
        self._headers: dict[str, Header] = {}
        self._claimed: Counter[bytes] = Counter()  # store ids in headers that are damaged
        for kind, numbered in self.files.items():
            for _, name in numbered:
                self._read_header(kind, name)
        owners = Counter(header.store_id for header in self._headers.values()) or self._claimed
        if not owners:
            raise UnsupportedFormatError(f"{directory.path} holds no file that is a store's")
        self.store_id = owners.most_common(1)[0][0]

    def _read_header(self, kind: str, name: str) -> None:
        """Raise what every open raises for a newer release's file."""
        file = self.directory.open(name)
        data = file.read_at(0, HEADER_BYTES)
        file.close()
        try:
            header = decode_header(data, name, KINDS[kind])
        except CorruptedError:
            if data.startswith(MAGIC):
                self._claimed[data[STORE_ID]] += 1
            return
        if header.read_only_flags:
            raise UnsupportedFormatError(
                f"{name} has flags {header.read_only_flags:#x} that this release does not know: "
                "the store may only be read; recover it with the release that made it"
            )
        self._headers[name] = header

    def is_spoiled(self, kind: str) -> bool:
        """Whether any file of that kind is not whole, as far as they were read."""
        return any(name in self.spoiled for _, name in self.files[kind])

    def header(self, kind: str, number: int, name: str, file: File) -> Header:
        """As the file has it, or as it must have been; a damaged one is taken note of."""
        found = self._headers.get(name)
        if found is not None and (found.store_id, found.number) == (self.store_id, number):
            return found
        self.note(name, 0, HEADER_BYTES, "the header is not this file's")
        first = _first_sequence(file) if kind == names.LOG else 0
        return Header(KINDS[kind], self.store_id, number, first)

    def note(self, name: str, offset: int, size_bytes: int, reason: str) -> None:
        """Take note of a damage."""
        self.spoiled.add(name)
        damage = Damage(name, offset, size_bytes, reason)
        if damage not in self.damages:
            self.damages.append(damage)

    def frames(self, kind: str, number: int, name: str) -> Iterator[Frame]:
        """Every whole frame of a file; what lies between them is taken note of."""
        file = self.directory.open(name)
        seed = self.header(kind, number, name, file).seed
        for piece in pieces(file, file.size(), seed, ignore, is_log=kind == names.LOG):
            if isinstance(piece, Gap):
                self.note(name, *piece, "no whole frame")
            else:
                yield piece
        file.close()

    def spoiled_files(self, *, but: AbstractSet[int]) -> tuple[str, ...]:
        """The files that are there and not whole; without the segments of these numbers."""
        there = self.spoiled.intersection(self.directory.names())
        return tuple(sorted(there - {names.numbered(names.SEGMENT, number) for number in but}))

    # Manifests --------------------------------------------------------------------------------
    def generations(self) -> tuple[list[Generation], Known]:
        """The newest whole generations, newest first; and what else manifests know."""
        known = Known()
        whole: list[Generation] = []
        for number, name in self.files[names.MANIFEST]:
            chain: deque[Generation] = deque(maxlen=KEPT_GENERATIONS)
            for frame in self.frames(names.MANIFEST, number, name):
                try:
                    _follow(chain, known, frame)
                except MemoryError:  # Not the bytes' fault: it must not look like damage.
                    raise
                except Exception as error:  # noqa: BLE001 - whatever hostile bytes make raise
                    reason = f"not a manifest frame: {error}"
                    self.note(name, frame.offset, frame.end - frame.offset, reason)
            whole += chain
        whole.sort(key=lambda found: -found.generation)
        return whole, known


def _follow(chain: deque[Generation], known: Known, frame: Frame) -> None:
    """Add a manifest's frame to the generations before it, where it follows them."""
    payload = unpacked(frame)
    if frame.kind == FrameKind.CEILINGS:
        count, ids = msgpack.unpackb(payload)
        known.raise_ceilings(Ceilings(int(count), int(ids)))
        return
    found = Generation.decode(payload)
    known.add(found)
    if frame.kind == FrameKind.WHOLE:
        chain.append(found)
    elif chain and found.generation == chain[-1].generation + 1:
        chain.append(chain[-1].followed_by(found))


def reason_of(error: Exception) -> str:
    """What an error says behind the name and place of what is damaged."""
    return str(error).partition(": ")[2] or str(error)


def _first_sequence(file: File) -> int:
    """What a log's header must have said: the sequence of its first commit."""
    data = file.read_at(HEADER_BYTES, FRAME_BYTES + 64)
    unpacker = msgpack.Unpacker()
    unpacker.feed(data[FRAME_BYTES:])
    try:
        unpacker.read_array_header()
        found = unpacker.unpack()
    except MemoryError:  # Not the bytes' fault: it must not look like damage.
        raise
    except Exception:  # noqa: BLE001 - whatever hostile bytes make the decoder raise
        return 0
    return found if type(found) is int and found > 0 else 0
