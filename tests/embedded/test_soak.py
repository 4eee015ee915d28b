"""The soak, short: memory and files within their bounds on data four times the cache."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MEMORY = Path("/proc/self/statm")


@pytest.mark.slow
@pytest.mark.skipif(not MEMORY.exists(), reason="asks Linux for its memory")
def test_memory_and_files_keep_to_their_bounds_on_data_larger_than_the_cache():
    command = ["benchmarks/soak.py", "--cache-mb", "2", "--seconds", "1", "--seed", "1"]
    result = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "every bound held" in result.stdout
