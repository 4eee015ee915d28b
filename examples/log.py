"""The engine's log alone: append, sync, and after a crash a prefix of what was appended."""

import tempfile

from conduitstore.engine.blocks import Log

with tempfile.TemporaryDirectory() as folder:
    log = Log(f"{folder}/letters")
    for letter in ("dear Alice", "dear Bob", "dear Carol"):
        log.append(letter.encode())
    print("on the platter up to", log.sync())
    log.append(b"not synced: a power loss may take it")
    log.close()

    with Log(f"{folder}/letters") as log:
        for sequence, letter in log.records(since=1):
            print(sequence, letter.decode())
        log.rotate()  # what was handled goes, file by file
        print("files forgotten:", log.forget(log.sequence))
        print("the next is", log.append(b"dear Dan"))
