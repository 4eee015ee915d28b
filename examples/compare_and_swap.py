"""Change a value only if nobody else has meanwhile. Losing is a value, not an exception."""

import tempfile

from conduitstore import engine

with tempfile.TemporaryDirectory() as folder, engine.open(f"{folder}/seats") as db:
    for guest in (b"alice", b"bob"):
        lost = db.compare_and_swap(b"seat 1", None, guest)  # None: only where nothing is
        if lost is None:
            print(guest.decode(), "has seat 1")
        else:
            print(guest.decode(), "finds", lost.current.decode(), "in seat 1")

    db.compare_and_swap(b"seat 1", b"alice", None)  # and None deletes
    print("seat 1 is free:", b"seat 1" not in db)
