"""Merge operators of one store: chosen in this process, their names kept with the data.

- The functions live here and are chosen anew after each open.
- The name a tree was first merged under is a row of the visible tree ``__merge_operators__``
  (tree name -> operator name), written in the commit of that merge, so that another program
  cannot combine old values by other rules without noticing.

Any thread may choose; operators are taken out inside a transaction.
"""

from __future__ import annotations

from conduitstore.errors import InvalidArgumentError
from conduitstore.kv import Keyspace, MergeOperator

MERGE_OPERATORS = "__merge_operators__"


class MergeOperators:
    """The operators of one open store, by tree name."""

    def __init__(self) -> None:
        self._chosen: dict[str, tuple[MergeOperator, bytes]] = {}

    def choose(self, tree: str, fn: MergeOperator, name: str | None) -> None:
        """Merge ``tree`` with ``fn`` from now on; the default name is the qualified one."""
        if not callable(fn):
            raise InvalidArgumentError(f"a merge operator must be callable, not {fn!r}")
        self._chosen[tree] = fn, _encoded_name(fn, name)

    def forget(self, tree: str) -> None:
        """Drop the choice with its tree."""
        self._chosen.pop(tree, None)

    def forget_name(self, tree: str, tx: Keyspace) -> None:
        """Delete the stored name with its tree, in the same transaction."""
        if MERGE_OPERATORS in tx.tree_names():
            tx.open_tree(MERGE_OPERATORS).remove(tree.encode())

    def take(self, tree: str, tx: Keyspace) -> MergeOperator:
        """The operator of ``tree``; the first merge stores its name, later ones compare it."""
        if tree not in self._chosen:
            raise InvalidArgumentError(f"{tree} has no merge operator: call set_merge_operator")
        fn, name = self._chosen[tree]
        names = tx.open_tree(MERGE_OPERATORS)
        stored = names.get(tree.encode())
        if stored is None:
            names.insert(tree.encode(), name)
        elif stored != name:
            raise InvalidArgumentError(
                f"{tree} was merged by {stored.decode()}, so {name.decode()} must not go on"
            )
        return fn


def _encoded_name(fn: MergeOperator, name: str | None) -> bytes:
    if name is None and hasattr(fn, "__qualname__"):
        name = f"{fn.__module__}.{fn.__qualname__}"
    if not isinstance(name, str) or not name:
        raise InvalidArgumentError(f"a merge operator needs a name, a str, not {name!r}")
    try:
        return name.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgumentError(f"an operator's name must be valid Unicode: {error}") from error
