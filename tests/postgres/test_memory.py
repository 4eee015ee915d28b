"""What a scan takes of memory, in Python and below it: a page, however much there is."""

import json
import subprocess
import sys

import pytest
from stores import PostgresHarness

from conduitstore.engine.postgres.draft import KNOWN_BYTES_MAX
from conduitstore.kv import Batch

pytestmark = pytest.mark.slow
ROWS, BIG = 20_000, 40
MEBIBYTE = 1 << 20
SCAN = """
import json, sys, tracemalloc
from conduitstore.engine import open

def resident():
    with __builtins__.open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024

with open(sys.argv[1], schema=sys.argv[2], flush_every_ms=None) as db:
    tree = db.open_tree("big")
    for _ in range(3):  # Whatever is kept for good is there.
        next(iter(tree)), tree.last(), len(tree), list(tree.range(limit=50))
    before = resident()
    tracemalloc.start()
    sizes = []
    with db.snapshot() as view:
        for reads in (tree, view.open_tree("big")):
            sizes.append(sum(len(value) for _, value in reads.range()))
            sizes.append(sum(len(value) for _, value in reads.range(reverse=True)))
            sizes.append(sum(1 for _ in reads.keys()))
    peak, grown = tracemalloc.get_traced_memory()[1], resident() - before
    total = db.transaction(lambda tx: sum(len(value) for _, value in tx.open_tree("big")))
    print(json.dumps([sizes, total, peak, grown, tracemalloc.get_traced_memory()[1]]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux how much memory there was")
def test_scans_take_a_page_whatever_there_is(postgres_server):
    harness = PostgresHarness(postgres_server.dsn)
    try:
        with harness.open() as db:
            for start in range(0, ROWS, 2_000):
                batch = Batch()
                for number in range(start, start + 2_000):
                    batch.insert("big", number.to_bytes(4), bytes(1_500))
                db.apply_batch(batch)
            for number in range(BIG):
                db.open_tree("big").insert(b"\xff%d" % number, bytes(MEBIBYTE))
        command = [sys.executable, "-c", SCAN, postgres_server.dsn, harness.schema]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        sizes, in_transaction, peak_bytes, grown_bytes, remembered_bytes = json.loads(said)
        total = ROWS * 1_500 + BIG * MEBIBYTE
        assert sizes == [total, total, ROWS + BIG] * 2
        assert in_transaction == total
        assert peak_bytes < 16 * MEBIBYTE, "of 70"
        assert grown_bytes < 40 * MEBIBYTE, "of 70"
        assert remembered_bytes < KNOWN_BYTES_MAX + 16 * MEBIBYTE, "it remembers what it has read"
    finally:
        harness.dispose()
