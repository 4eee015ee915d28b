"""A merge operator: say once how a value takes in an operand, then merge without reading first."""

import tempfile

from conduitstore import engine


def append(_key, old, operand):
    return operand if old is None else old + b", " + operand


with tempfile.TemporaryDirectory() as folder, engine.open(f"{folder}/tags") as db:
    tags = db.open_tree("photo_tags")
    tags.set_merge_operator(append, name="append")  # the name is kept with the data
    for tag in (b"sea", b"summer", b"Alice"):
        tags.merge(b"photo 1", tag)
    print(tags.get(b"photo 1").decode())
