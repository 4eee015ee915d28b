"""Trees made of the leaves that still verify.

- What the newest whole generation means counts. In the ranges of its leaves that are damaged, the
  newest of the others do; without any generation, they do everywhere.
- A manifest that is damaged may have known of newer leaves than it tells: those come first. One
  that is whole has not: newer leaves were never published.
- Leaves of one time share no range. One that shares some with a newer one was therefore replaced
  as a whole; only where something is damaged may a part of it be the newest there is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from conduitstore.kv import DEFAULT_TREE
from conduitstore.operations import Damage

from . import index, names
from .blob import entries_of
from .claims import Claim
from .forest import DEFAULT_TREE_ID, Forest
from .layers import END, FoundLeaf, Layer, Layers, newest_first
from .leaf import Leaf, payload_bytes
from .manifest import Generation
from .remains import Known, Remains
from .scan import Scan


def generated_name(tree_id: int, taken: Collection[str]) -> str:
    """A name for a tree whose own is lost."""
    name = f"salvaged_{tree_id}"
    while name in taken:
        name += "_"
    return name


class SalvagedTrees:
    """See the module's rules.

    Attributes:
        base: the newest whole generation.
        known: what else manifests know.
        damages: leaves and blobs that are meant to be there and are not.
    """

    def __init__(self, remains: Remains, scan: Scan, base: Generation | None, known: Known) -> None:
        self.base = base
        self.known = known
        self.damages: list[Damage] = []
        self._scan = scan
        self._leaves: dict[int, list[FoundLeaf]] = {}  # by tree, newest first
        for leaf in newest_first(scan.leaves.values()):
            self._leaves.setdefault(leaf.tree_id, []).append(leaf)
        # A manifest that is damaged may have known of newer leaves than those that it tells of.
        is_newest = not remains.is_spoiled(names.MANIFEST)
        self._names = self._name_trees(is_newest=is_newest)
        self._layers = {tree_id: Layers() for tree_id in self._names}
        self._only_whole = base is None and not remains.is_spoiled(names.SEGMENT)
        self._lay(is_newest=is_newest)
        self._ages: dict[tuple[int, bytes], int] = {}  # of values that are older than their leaf

    def _name_trees(self, *, is_newest: bool) -> dict[int, str]:
        """Every tree there may be: an id comes only once, so what is missing was dropped."""
        newest = self.known.newest
        found = {DEFAULT_TREE_ID: DEFAULT_TREE}
        found |= newest.trees if newest is not None else {}
        for tree_id in sorted(self._leaves.keys() - found.keys(), reverse=True):
            if newest is None or (tree_id >= newest.next_tree_id and not is_newest):
                name = self.known.tree_names.get(tree_id, "")
                is_free = name and name not in found.values()
                found[tree_id] = name if is_free else generated_name(tree_id, found.values())
        return found

    # Which leaf counts where --------------------------------------------------------------------
    def _lay(self, *, is_newest: bool) -> None:
        base = self.base
        age = base.generation if base is not None else -1
        for tree_id in self._names:
            leaves = self._leaves.get(tree_id, [])
            if base is None or not is_newest:
                self._lay_found(tree_id, (leaf for leaf in leaves if leaf.generation > age))
        if base is None:
            return
        for claim, found in self._scan.claimed(base):
            self._lay_claim(claim, found, base.sequence)
        for tree_id in self._names:
            leaves = self._leaves.get(tree_id, [])
            self._lay_found(tree_id, (leaf for leaf in leaves if leaf.generation <= age))

    def _lay_found(self, tree_id: int, leaves: Iterable[FoundLeaf]) -> None:
        layers = self._layers[tree_id]
        for leaf in leaves:
            if layers.is_complete:
                return
            sequence = self.known.sequence_of(leaf.generation)
            hi = leaf.last + b"\0"
            layers.lay(leaf, sequence, leaf.first, hi, only_whole=self._only_whole)

    def _lay_claim(self, claim: Claim, found: FoundLeaf | None, sequence: int) -> None:
        if claim.tree_id not in self._layers:
            return
        if found is None:
            is_there = claim.row[0] in self._scan.segments
            reason = "no whole leaf" if is_there else "the file is missing"
            file = names.numbered(names.SEGMENT, claim.row[0])
            self.damages.append(claim.damage(file, f"{reason}: older ones and the log fill in"))
        else:
            lo = b"" if claim.is_first else claim.low
            hi = END if claim.high is None else claim.high
            self._layers[claim.tree_id].lay(found, sequence, lo, hi, only_whole=False)

    def sequence_at(self, tree_id: int, key: bytes) -> int:
        """Commits up to this one are in what was found for a key; 0: nothing was."""
        age = self._ages.get((tree_id, key))
        if age is not None:
            return age
        layer = self._layers[tree_id].at(key) if tree_id in self._layers else None
        return layer.sequence if layer is not None else 0

    # Trees --------------------------------------------------------------------------------------
    def plant(self, forest: Forest) -> None:
        """Put the trees into an empty forest; whole leaves are not read again."""
        base, newest = self.base, self.known.newest
        for tree_id, name in self._names.items():
            found = ((layer.lo, self._leaf(name, layer)) for layer in self._layers[tree_id])
            forest.roots[tree_id] = index.build([(low, leaf) for low, leaf in found if leaf])
            forest.ids[name] = tree_id
        known_next = newest.next_tree_id if newest is not None else 0
        forest.next_tree_id = max(known_next, max(self._names) + 1)
        forest.count = base.count if base is not None else 0
        forest.sequence = base.sequence if base is not None else 0

    def _leaf(self, tree: str, layer: Layer) -> Leaf | None:
        """The leaf as it is, or what of it counts and can be read; None: nothing."""
        scan, found = self._scan, layer.leaf
        if layer.is_whole and scan.is_whole(found):
            return scan.leaf(found)
        entries: dict[bytes, Any] = {}
        for key, stored in zip(*scan.contents(found), strict=True):
            if layer.lo <= key < layer.hi:
                value = scan.value(stored)
                if value is None:
                    self._note_blob(tree, key, stored)
                    value, self._ages[found.tree_id, key] = self._older_value(found, key)
                if value is not None:
                    entries[key] = value
        if not entries:
            return None
        return Leaf(list(entries), entries_of(entries), size_bytes=payload_bytes(entries))

    def _note_blob(self, tree: str, key: bytes, reference: list[int]) -> None:
        number, offset, frame_bytes, _ = reference
        reason = "no whole blob: older values and the log fill in"
        name = names.numbered(names.SEGMENT, number)
        self.damages.append(Damage(name, offset, frame_bytes, reason, tree, key, key + b"\0"))

    def _older_value(self, newer: FoundLeaf, key: bytes) -> tuple[Any, int]:
        """What a key had before the blob that is lost, and a commit that it knows of."""
        for leaf in self._leaves[newer.tree_id]:
            if leaf.generation < newer.generation and leaf.first <= key <= leaf.last:
                found = dict(zip(*self._scan.contents(leaf), strict=True))
                value = self._scan.value(found[key]) if key in found else None
                if value is not None or key not in found:
                    return value, self.known.sequence_of(leaf.generation)
        return None, 0
