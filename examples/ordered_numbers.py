"""Numbers as keys: big-endian bytes sort as the numbers do, little-endian ones do not."""

import tempfile

from conduitstore import engine

NUMBERS = (1, 2, 255, 256, 1_000, 65_536)

with tempfile.TemporaryDirectory() as folder, engine.open(f"{folder}/numbers") as db:
    for byte_order in ("big", "little"):
        tree = db.open_tree(byte_order)
        for number in NUMBERS:
            tree.insert(number.to_bytes(8, byte_order), b"")
        order = [int.from_bytes(key, byte_order) for key, _ in tree]
        print(f"{byte_order}-endian:", *order)
