"""Ids that never come twice, whatever crashes; one by one, in a block, and as part of a commit."""

import tempfile

from conduitstore import engine


def file_under_new_id(tx):
    number = tx.generate_id()
    tx.open_tree("id_name").insert(number.to_bytes(8), b"alice")
    return number


with tempfile.TemporaryDirectory() as folder:
    with engine.open(f"{folder}/ids") as db:
        print("one by one:", db.generate_id(), db.generate_id())
        print("a block:", *db.reserve_ids(3))
        print("in a commit:", db.transaction(file_under_new_id))
    with engine.open(f"{folder}/ids") as db:
        print("after a clean close:", db.generate_id())
