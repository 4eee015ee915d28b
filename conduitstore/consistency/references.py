"""Trees that must agree row by row: most rules are lines of such a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain

from conduitstore.kv import Keyspace
from conduitstore.schema import TREES

from .findings import Find, Finding
from .rows import Row, folded, found_at, row_of, rows


@dataclass(frozen=True)
class Reference:
    """Each row of ``source`` has its row in ``target``.

    The target's key is made of the fields of the same names.

    Attributes:
        where: target field to source field, where the names differ.
        key: the source field that is the whole key instead.
        value: the source field that the target's value must be; None: any value.
        agrees: target field to source field, for what both must say alike.
        is_absent: turns it round: the target must *not* have that row.
    """

    source: str
    target: str
    where: Mapping[str, str] = field(default_factory=dict)
    key: str | None = None
    value: str | None = None
    agrees: Mapping[str, str] = field(default_factory=dict)
    is_absent: bool = False

    def target_key(self, row: Row) -> bytes:
        """Where the target's row has to be."""
        if self.key is not None:
            return row[self.key]
        shape = TREES[self.target].key
        return shape.join(*(row[self.where.get(name, name)] for name in shape.fields))

    def find(self, view: Keyspace) -> Iterator[Finding]:
        """The rows of ``source`` for which it does not hold. Cost: a point read for each row."""
        target = view.open_tree(self.target)
        for row in rows(view, self.source):
            key = self.target_key(row)
            wrong = self._wrong(row, key, found_at(target, key))
            if wrong is not None:
                yield Finding(self.source, row["key"], f"{self.target} {wrong} {key!r}")

    def _wrong(self, row: Row, key: bytes, found: bytes | None) -> str | None:
        if self.is_absent:
            return None if found is None else "must not have"
        if found is None:
            return "does not have"
        if self.value is not None and row[self.value] not in (found, folded(found)):
            return "has another value at"
        return None if self._is_agreed(row, key, found) else "says otherwise at"

    def _is_agreed(self, row: Row, key: bytes, found: bytes) -> bool:
        if not self.agrees:
            return True
        other = row_of(TREES[self.target], key, found)
        return other is None or all(
            other[theirs] == row[ours] for theirs, ours in self.agrees.items()
        )


def mirrored(one: str, other: str) -> tuple[Reference, Reference]:
    """Two trees with the same rows under keys of the same fields; values are their own."""
    return Reference(one, other), Reference(other, one)


def exclusive(*trees: str) -> tuple[Reference, ...]:
    """A key is in one of these trees at most."""
    return tuple(
        Reference(one, other, is_absent=True)
        for number, one in enumerate(trees)
        for other in trees[number + 1 :]
    )


@dataclass(frozen=True)
class Together:
    """A rule of several parts."""

    finds: tuple[Find, ...]

    def __call__(self, view: Keyspace) -> Iterator[Finding]:
        return chain.from_iterable(find(view) for find in self.finds)


def together(*finds: Find) -> Together:
    """A rule of several parts."""
    return Together(finds)


def referring(*references: Reference) -> Together:
    """A rule that is nothing but references."""
    return together(*(reference.find for reference in references))
