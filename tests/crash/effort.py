"""Settings under which small workloads do everything, and how much a run may try."""

import os

SMALL = {
    "leaf_entries_max": 3,
    "checkpoint_log_bytes": 600,
    "idgen_persist_interval": 4,
    "blob_bytes_min": 30,
    "segment_bytes_target": 400,  # A checkpoint writes several.
}
VARIANTS = {
    "plain": {},
    "logs go": {"log_keep_bytes": 0},
    "commit": {"durability": "commit", "checkpoint_log_bytes": 1_500},
    "none": {"durability": "none", "checkpoint_log_bytes": 1_500},
    "uncompressed": {"compression_level": 0, "segment_bytes_target": 4_000},
}
EFFORT = int(os.environ.get("CRASH_SEEDS", "1"))
"""How many times as much as `make test` does."""
LENGTH = 14 if EFFORT == 1 else 24
"""How many steps a workload has."""
