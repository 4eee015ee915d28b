"""Everything before a time: a range with an open beginning, taken away in one commit."""

import tempfile

from conduitstore import engine


def forget_before(time_ms):
    def run(tx):
        typing = tx.open_tree("time_typing")
        old = [key for key, _ in typing.range(None, time_ms.to_bytes(8))]  # the end is excluded
        for key in old:
            typing.remove(key)
        return len(old)

    return run


with tempfile.TemporaryDirectory() as folder, engine.open(f"{folder}/typing") as db:
    typing = db.open_tree("time_typing")
    for time_ms in (1_000, 2_000, 3_000, 4_000):
        typing.insert(time_ms.to_bytes(8), b"@alice:example.org")

    print("forgotten:", db.transaction(forget_before(3_000)))
    print("left:", *(int.from_bytes(key) for key, _ in typing))
