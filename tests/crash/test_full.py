"""No space on a real file system: the commit that found none left nothing, the rest is there."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conduitstore.testing.report import tally

WRITER = Path(__file__).with_name("full_writer.py")
MOUNT = 'mount -t tmpfs -o size=1m none "$1" && exec "$2" "$3" disk "$1"'


def full_total(command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])


def why_not():
    """Why no small file system can be mounted here; None: it can."""
    if not shutil.which("unshare"):
        return "there is no unshare(1)"
    tried = ["unshare", "-rm", "mount", "-t", "tmpfs", "-o", "size=1m", "none", "/mnt"]
    done = subprocess.run(tried, capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else f"no mounts in a namespace: {done.stderr.strip()}"


def test_a_small_file_system_that_fills_up(tmp_path):
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    shell = ["unshare", "-rm", "sh", "-c", MOUNT, "sh", tmp_path, sys.executable, WRITER]
    total = full_total(shell)
    tally("real disks filled", total)
    assert total > 5


def test_files_that_may_not_grow(tmp_path):
    total = full_total([sys.executable, WRITER, "limit", tmp_path])
    tally("real disks filled", total)
    assert total > 5
