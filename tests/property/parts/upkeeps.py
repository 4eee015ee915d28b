"""What operators do meanwhile: collect, and lose derived trees and make them again."""

from conduitstore.consistency.rows import row_of
from conduitstore.schema import TREES
from conduitstore.upkeep import GcOptions, rebuild
from conduitstore.upkeep.rebuild import REBUILDS

from .base import Base, act

NOBODY = bytes(8)


class DyingAfter:
    """A store whose process dies after so many commits."""

    def __init__(self, db, commits):
        self.db, self.left = db, commits

    def transaction(self, fn, **options):
        if not self.left:
            raise KeyboardInterrupt
        self.left -= not options.get("read_only", False)
        return self.db.transaction(fn, **options)


class Upkeeps(Base):
    """No model of its own: what readers see stays the same."""

    @act(tree=sorted(REBUILDS), commits=range(5))
    def lose(self, tree, commits):
        """A tree's rows are gone and come back, as far as nothing else knew more."""
        db = self.store.db
        if tree == "referencedevents" and NOBODY in [value for _, value in db.open_tree(tree)]:
            return  # What only events named that are gone, nothing else knows.
        before = contents(db, tree)
        db.open_tree(tree).clear()
        try:
            rebuild(DyingAfter(db, commits), tree)
        except KeyboardInterrupt:
            rebuild(db, tree)
        assert contents(db, tree) == before

    @act()
    def collect(self):
        """What nobody sees any more goes; at the beginning of time nothing is too old."""
        options = GcOptions(young_counts=0, auth_chains_bytes=0)
        self.store.gc(options, now_ms=1_000)
        assert all(one.removed == 0 for one in self.store.gc(options, now_ms=1_000))
        self.collected()

    def finish(self):
        for tree in REBUILDS:
            assert rebuild(self.store.db, tree) == 0, tree
        super().finish()


def contents(db, tree):
    """The rows of a tree, without what a lost row alone knew."""
    with db.snapshot() as view:
        return sorted(known(tree, *item) for item in view.open_tree(tree))


def known(tree, key, value):
    """What can be made again of a row."""
    row = row_of(TREES[tree], key, value)
    match tree:
        case "onetimekeyuploads" if row:  # The order.
            return row["user"], row["device"], row["algorithm"], row["name"]
        case "aliasid_alias" if row:  # The order.
            return row["room"], value
        case "threadid_userids":  # The order.
            return key, sorted(value.split(b"\xff"))
        case "spentrefresh_userdeviceid" if row:  # The time.
            return key, value[:-8]
        case _:
            return key, value
