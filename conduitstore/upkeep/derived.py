"""How each derived tree follows from others: what makes it right, one way per tree.

A way mends in place: it writes what is missing or wrong, then removes what nothing implies. So
readers never find the tree empty, writers go on, and a run that dies has done its part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from conduitstore.codec.states import state_hash
from conduitstore.codec.values import EMPTY
from conduitstore.consistency.events import event_id_in
from conduitstore.consistency.references import Reference
from conduitstore.consistency.rows import found_at, row_of
from conduitstore.consistency.state import DIFFS, entries_of
from conduitstore.kv import Keyspace, Transaction
from conduitstore.schema import TREES

from .batches import each_row

_HASH = TREES["statehash_shortstatehash"].key
Item = tuple[bytes, bytes]
Leads = Callable[[Keyspace, Item], Item | None]
"""From a row of one tree to a row of another; None where there is none."""
Implies = Callable[[Keyspace, Item], Iterable[Item]]
"""From a row of one tree to those of another that it asks for."""


@dataclass(frozen=True)
class Derivation:
    """A tree each of whose rows follows from a single row of another.

    Attributes:
        target: the derived tree.
        source: what it follows from.
        implied: from a row of the source to the target's rows that it asks for.
        origin: from a row of the target to the source's row that it can follow from.
    """

    target: str
    source: str
    implied: Implies
    origin: Leads

    def rebuild(self, db: Keyspace) -> int:
        """Make the tree right; gives how many rows were not."""
        return each_row(db, self.source, self._fill) + self.sweep(db)

    def sweep(self, db: Keyspace) -> int:
        """Remove what nothing implies; gives how many rows that were."""
        return each_row(db, self.target, self._sweep)

    def _fill(self, tx: Transaction, key: bytes, value: bytes) -> int:
        return put(tx, self.target, self.implied(tx, (key, value)))

    def _sweep(self, tx: Transaction, key: bytes, value: bytes) -> int:
        origin = self.origin(tx, (key, value))
        if origin is not None and (key, value) in self.implied(tx, origin):
            return 0
        tx.open_tree(self.target).remove(key)
        return 1


def put(tx: Transaction, tree: str, items: Iterable[Item]) -> int:
    """Write the rows that are not there as they should be; gives how many those were."""
    rows = tx.open_tree(tree)
    wrong = [(key, value) for key, value in items if rows.get(key) != value]
    for key, value in wrong:
        rows.insert(key, value)
    return len(wrong)


def mirror(forward: Reference, back: Reference) -> Derivation:
    """The same facts under another key.

    ``forward`` says how the derived tree's key and value are made, ``back`` how the source's key.
    """

    def implied(_view: Keyspace, item: Item) -> list[Item]:
        row = row_of(TREES[forward.source], *item)
        if row is None:
            return []
        return [(forward.target_key(row), row[forward.value] if forward.value else EMPTY)]

    def origin(view: Keyspace, item: Item) -> Item | None:
        row = row_of(TREES[back.source], *item)
        return None if row is None else row_at(view, back.target, back.target_key(row))

    return Derivation(forward.target, forward.source, implied, origin)


def row_at(view: Keyspace, tree: str, key: bytes) -> Item | None:
    """A row by its key; None where there is none."""
    value = found_at(view.open_tree(tree), key)
    return None if value is None else (key, value)


def named_by_value(tree: str) -> Leads:
    """The row of ``tree`` whose key is the other's value."""
    return lambda view, item: row_at(view, tree, item[1])


def _event_place(_view: Keyspace, item: Item) -> list[Item]:
    event_id = event_id_in(item[1])
    return [] if event_id is None else [(event_id, item[0])]


def _state_by_hash(view: Keyspace, item: Item) -> list[Item]:
    entries = entries_of(view, item[0])
    return [] if entries is None else [(_HASH.pack(state_hash(entries)), item[0])]


EVENT_PLACES = Derivation("eventid_pduid", "pduid_pdu", _event_place, named_by_value("pduid_pdu"))
STATE_HASHES = Derivation("statehash_shortstatehash", DIFFS, _state_by_hash, named_by_value(DIFFS))
