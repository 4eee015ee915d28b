"""The engine's leaves alone: a sorted run, written whole, read through a cache of a fixed size."""

import tempfile

from conduitstore.engine.blocks import LeafStore

words = {b"ant": b"an insect", b"bee": b"makes honey", b"cat": b"sleeps", b"dog": b"barks"}

with tempfile.TemporaryDirectory() as folder:
    with LeafStore(f"{folder}/dictionary", cache_capacity_bytes=1 << 20) as store:
        first = store.write("words", sorted(words.items()))
        words[b"cow"] = b"gives milk"
        store.write("words", sorted(words.items()))  # in the place of the first, at once
        print(len(first), "words, then", len(store.run("words")))

    with LeafStore(f"{folder}/dictionary") as store:
        run = store.run("words")
        print("cow:", run.get(b"cow").decode())
        print("from b to c:", *(word.decode() for word, _ in run.range(b"b", b"d")))
        print("the last:", run.last()[0].decode())
