"""The last ten of a prefix: scan it backwards with a limit. The cost is ten, however long it is."""

import tempfile

from conduitstore import engine

with tempfile.TemporaryDirectory() as folder, engine.open(f"{folder}/rooms") as db:
    for room in (b"kitchen", b"lounge"):
        for number in range(1_000):
            db.insert(room + b"\xff" + number.to_bytes(8), b"event")

    newest = db.scan_prefix(b"kitchen\xff", reverse=True, limit=10)
    print(*(int.from_bytes(key[-8:]) for key, _ in newest))
