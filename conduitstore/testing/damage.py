"""Damage to the files of a store: bytes flipped, files cut, swapped, taken away, put in.

A store's files are an :data:`Image`, names to bytes, of a simulated disk or of a real directory. A
:class:`Damage` prints as the call that makes it, so that a failing case is one line to repeat:

    flip("log-00000003", 120, 0x41)(image)
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from typing import Protocol

from conduitstore.engine.embedded import names
from conduitstore.engine.embedded.files import Directory

from .disk import SimulatedDisk

Image = dict[str, bytes]
BITS = tuple(1 << bit for bit in range(8))


def image_of(directory: Directory) -> Image:
    """Every file of a directory but its lock."""
    image = {}
    for name in directory.names():
        if name != names.LOCK:
            file = directory.open(name)
            image[name] = file.read_at(0, file.size())
            file.close()
    return image


def disk_of(image: Image, path: str = "store") -> SimulatedDisk:
    """A disk on whose platter these files are."""
    disk = SimulatedDisk()
    write(disk, image, path)
    return disk


def write(disk: SimulatedDisk, image: Image, path: str) -> None:
    """Put the files of one more directory on a disk."""
    directory = disk.make_directory(path)
    for name, data in image.items():
        file = directory.create(name)
        file.write_at(data, 0)
        file.sync()
    directory.sync()


@dataclass(frozen=True)
class Damage:
    """What is done to one file, or with two."""

    how: str
    file: str
    at: int = 0
    mask: int = 0
    other: str = ""

    def __str__(self) -> str:
        if self.how == "flip":
            return f"flip({self.file!r}, {self.at}, {self.mask:#x})"
        if self.how == "cut":
            return f"cut({self.file!r}, {self.at})"
        second = f", {self.other!r}" if self.other else ""
        return f"{self.how}({self.file!r}{second})"

    def __call__(self, image: Image, strange: Image | None = None) -> Image:
        """The files after it; ``strange`` are another store's, for what takes one of those."""
        after = dict(image)
        data = image.get(self.file, b"")
        match self.how:
            case "flip":
                after[self.file] = _flipped(data, self.at, self.mask)
            case "cut":
                after[self.file] = data[: self.at]
            case "swap":
                after[self.file], after[self.other] = image[self.other], data
            case "copy":
                after[self.other] = data
            case "remove":
                del after[self.file]
            case _:
                after[self.file] = (strange or {})[self.file]
        return after

    @property
    def may_unsay(self) -> bool:
        """Whether it may take a promise away with what was promised: nothing is left to tell."""
        return not self.is_flip

    @property
    def is_flip(self) -> bool:
        """Whether every file is as long as it was."""
        return self.how == "flip"


@dataclass(frozen=True)
class Several:
    """Flips at once, one after the other."""

    flips: tuple[Damage, ...]
    is_flip = True

    def __str__(self) -> str:
        return f"several([{', '.join(map(str, self.flips))}])"

    def __call__(self, image: Image, strange: Image | None = None) -> Image:
        """See :meth:`Damage.__call__`."""
        for one in self.flips:
            image = one(image, strange)
        return image

    @property
    def may_unsay(self) -> bool:
        """See :attr:`Damage.may_unsay`: what two commits say of a third, two flips may undo."""
        return sum(one.file.startswith(names.LOG) for one in self.flips) > 1


class AnyDamage(Protocol):
    """What can be done to the files of a store. It prints as the call that makes it."""

    def __call__(self, image: Image, strange: Image | None = None, /) -> Image:
        """The files after it; ``strange`` are another store's."""

    @property
    def may_unsay(self) -> bool:
        """Whether it may take a promise away with what was promised: nothing is left to tell."""

    @property
    def is_flip(self) -> bool:
        """Whether every file is as long as it was."""


def _flipped(data: bytes, at: int, mask: int) -> bytes:
    return b"%b%c%b" % (data[:at], data[at] ^ mask, data[at + 1 :])


def flip(file: str, at: int, mask: int) -> Damage:
    """Some bits of one byte are the opposite of what they were."""
    return Damage("flip", file, at, mask)


def several(flips: Sequence[Damage]) -> Several:
    """All of them."""
    return Several(tuple(flips))


def cut(file: str, size: int) -> Damage:
    """The file ends after so many bytes."""
    return Damage("cut", file, size)


def swap(file: str, other: str) -> Damage:
    """Two files have each other's bytes."""
    return Damage("swap", file, other=other)


def copy(file: str, other: str) -> Damage:
    """The same bytes under a second name too, whatever was there."""
    return Damage("copy", file, other=other)


def remove(file: str) -> Damage:
    """The file is gone."""
    return Damage("remove", file)


def foreign(file: str) -> Damage:
    """In its place is another store's file of that name."""
    return Damage("foreign", file)


def flips(image: Image, *, every: int = 1, bits: Sequence[int] = BITS) -> Iterator[Damage]:
    """Every byte of every file (or one in so many), each with the next of the bits."""
    for number, file in enumerate(numbered_files(image)):
        for at in range(number % every, len(image[file]), every):
            yield flip(file, at, bits[(number + at // every) % len(bits)])


def random_flips(image: Image, seed: int, total: int) -> Iterator[Damage]:
    """Single bits anywhere: of each file as many as it is long."""
    chance = random.Random(seed)  # noqa: S311 - reproducible by design
    files = numbered_files(image)
    for file in chance.choices(files, [len(image[file]) for file in files], k=total):
        yield flip(file, chance.randrange(len(image[file])), chance.choice(BITS))


def in_groups(damages: Iterable[Damage], size: int) -> Iterator[Several]:
    """So many at once."""
    each = iter(damages)
    while group := tuple(islice(each, size)):
        yield Several(group)


def cuts(image: Image, *, every: int = 1) -> Iterator[Damage]:
    """Every file at every length, or one in so many."""
    for file in numbered_files(image):
        for size in range(0, len(image[file]), every):
            yield cut(file, size)


def mixups(image: Image, strange: Image) -> Iterator[Damage]:
    """Files swapped, taken away, another store's, and copied to where files are and are not."""
    files = numbered_files(image)
    for one, other in combinations(files, 2):
        yield swap(one, other)
        yield copy(one, other)
        yield copy(other, one)
    for file in files:
        yield remove(file)
        kind, _, number = file.partition("-")
        last = max(int(one.partition("-")[2], 16) for one in files)
        for place in (0, last + 1, last + 5, int(number, 16) + 1):
            if (name := f"{kind}-{place:08x}") not in image:
                yield copy(file, name)
        yield copy(file, file + names.NEW)
        yield copy(file, file + names.DAMAGED)
        if file in strange:
            yield foreign(file)


def numbered_files(image: Image) -> list[str]:
    """The files that a store is made of."""
    return sorted(name for name in image if names.parse(name) is not None)
