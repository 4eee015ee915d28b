"""`benchmarks/breakdown.py` knows the engine's stages by name; here it is held to them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OF_AN_INSERT = {
    "change leaves": 1,
    "find leaves to change": 1,
    "append to the log": 1,
    "msgpack": 1,
    "checksum": 2,
}


@pytest.mark.slow
@pytest.mark.interpreted("what is compiled cannot be watched")
def test_an_insert_is_broken_down_into_its_stages(tmp_path):
    command = [
        "benchmarks/breakdown.py",
        "--only",
        "insert, one",
        "--rounds",
        "1",
        "--to",
        tmp_path,
    ]
    result = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    table = (tmp_path / "breakdown.md").read_text()
    rows = re.findall(r"^\| (.+?) \| ([\d.]+) \|", table, re.MULTILINE)
    calls = {stage: float(total) for stage, total in rows}
    assert {stage: round(calls.get(stage, 0)) for stage in OF_AN_INSERT} == OF_AN_INSERT
    shares = [int(share) for share in re.findall(r"(-?\d+)% \|$", table, re.MULTILINE)]
    assert min(shares) >= 0
    assert 90 <= sum(shares) <= 110
