"""Move money between two trees: both change, or neither."""

import tempfile

from conduitstore import engine


def amount(tree):
    return int(tree.get(b"alice") or b"0")


def save(total):
    def run(tx):
        purse, savings = tx.open_tree("name_purse"), tx.open_tree("name_savings")
        purse.insert(b"alice", b"%d" % (amount(purse) - total))
        savings.insert(b"alice", b"%d" % (amount(savings) + total))
        if amount(purse) < 0:  # a transaction sees its own writes
            raise ValueError("not enough")  # and what leaves it undoes them

    return run


with tempfile.TemporaryDirectory() as folder, engine.open(f"{folder}/bank") as db:
    db.open_tree("name_purse").insert(b"alice", b"100")
    for total in (70, 70):
        try:
            db.transaction(save(total))
        except ValueError as error:
            print("undone:", error)
    with db.snapshot() as view:  # two trees at one instant
        print("purse", amount(view.open_tree("name_purse")))
        print("savings", amount(view.open_tree("name_savings")))
