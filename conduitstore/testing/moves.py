"""Frames that stand where they do not belong: as a disk leaves them that mixes up addresses.

A :class:`Move` prints as the call that makes it, as those of :mod:`.damage` do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations
from typing import NamedTuple

from conduitstore.engine.embedded import names
from conduitstore.engine.embedded.format import decode_header, frames
from conduitstore.engine.embedded.verify import KINDS

from .damage import Image, numbered_files


class Place(NamedTuple):
    """Where a frame is."""

    file: str
    at: int
    size: int

    @property
    def end(self) -> int:
        """The offset of the byte behind it."""
        return self.at + self.size


@dataclass(frozen=True)
class Move:
    """A frame stands in another's place too, or the two change places. Files stay as long.

    In one file what is between two that change goes along, so that no byte is lost. Else a frame
    that is too long covers what follows, up to the end of the file.
    """

    how: str
    one: Place
    other: Place
    is_flip = True

    def __str__(self) -> str:
        return f"{self.how}({self.one}, {self.other})"

    def __call__(self, image: Image, _strange: Image | None = None) -> Image:
        """The files after it."""
        after = dict(image)
        if self.how == "exchange" and self.one.file == self.other.file:
            after[self.one.file] = _exchanged(image[self.one.file], *sorted((self.one, self.other)))
            return after
        _cover(after, self.other, _frame(image, self.one))
        if self.how == "exchange":
            _cover(after, self.one, _frame(image, self.other))
        return after

    @property
    def may_unsay(self) -> bool:
        """Whether it may take a promise away: several commits of a log may be gone."""
        return self.other.file.startswith(names.LOG) or (
            self.how == "exchange" and self.one.file.startswith(names.LOG)
        )


def _frame(image: Image, place: Place) -> bytes:
    return image[place.file][place.at : place.end]


def _cover(image: Image, place: Place, frame: bytes) -> None:
    data = image[place.file]
    frame = frame[: len(data) - place.at]
    image[place.file] = data[: place.at] + frame + data[place.at + len(frame) :]


def _exchanged(data: bytes, one: Place, other: Place) -> bytes:
    first, between, second = (
        data[one.at : one.end],
        data[one.end : other.at],
        data[other.at : other.end],
    )
    return data[: one.at] + second + between + first + data[other.end :]


def move(one: Place, other: Place) -> Move:
    """The first frame stands where the second was, too."""
    return Move("move", one, other)


def exchange(one: Place, other: Place) -> Move:
    """Two frames change places."""
    return Move("exchange", one, other)


def places(image: Image) -> list[Place]:
    """Every frame of every file."""
    found = []
    for file in numbered_files(image):
        kind, _ = names.parse(file) or ("", 0)
        seed = decode_header(image[file], file, KINDS[kind]).seed
        found += [
            Place(file, frame.offset, frame.end - frame.offset)
            for frame in frames(image[file], seed)
        ]
    return found


def moves(image: Image, *, every: int = 1) -> Iterator[Move]:
    """Every frame in the place of every other, and every two that change places.

    With ``every`` one in so many, but all in one file of which one fits the other's place.
    """
    for number, (one, other) in enumerate(permutations(places(image), 2)):
        if number % every == 0 or (one.file, one.size) == (other.file, other.size):
            yield move(one, other)
            if one < other:
                yield exchange(one, other)
