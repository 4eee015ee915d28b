"""Say whose schema the version counts.

Two forks of Conduit counted on the same ladder and met at the same numbers with different
meanings, so the number alone does not tell whether a store can be read. This step writes nothing
but the lineage, and reads nothing: the runner has made sure that no rows of a schema are there.
"""

from __future__ import annotations

from conduitstore.kv import Transaction


def upgrade(tx: Transaction) -> None:
    """Write the row ``lineage`` of the tree ``global``."""
    tx.open_tree("global").insert(b"lineage", b"conduitstore")
