"""The tour: put things into a store, look at them, take one out."""

import tempfile

from conduitstore import engine

with tempfile.TemporaryDirectory() as folder, engine.open(f"{folder}/cabinet") as db:
    db.insert(b"todo:1", b"water the plants")
    db.insert(b"todo:2", b"answer Alice")
    db.insert(b"todo:3", b"sleep")
    db.insert(b"note:1", b"the key is under the mat")

    print("todo:2 is", db.get(b"todo:2").decode())
    print("todo:9 is", db.get(b"todo:9"))  # absence is no error

    for key, value in db.scan_prefix(b"todo:"):
        print(key.decode(), "=", value.decode())

    gone = db.remove(b"todo:2")  # gives what was there
    print("done:", gone.decode())
    print("left:", ", ".join(key.decode() for key in db.keys()))  # noqa: SIM118 - a tree, no dict
