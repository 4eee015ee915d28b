"""Being amid a commit's changes: while the first rows are there, and the others are not."""

from conduitstore.engine.embedded.forest import Forest


def before_each_row(monkeypatch, hook):
    """``hook()`` runs before each row that a commit changes, under the forest's lock."""
    change = Forest._change

    def row_by_row(forest, ops, places):
        for at, place in enumerate(places):
            hook()
            change(forest, ops[3 * at : 3 * at + 3], [place])

    monkeypatch.setattr(Forest, "_change", row_by_row)
