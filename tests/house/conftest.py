"""The repository as git sees it."""

import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def tracked():
    """Every file that is or would be committed."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode:
        pytest.skip("not a git checkout: what belongs to the repository cannot be told")
    return sorted(path for name in listing.stdout.split("\0") if (path := ROOT / name).is_file())


@pytest.fixture(scope="session")
def text_files(tracked):
    binary = {".zst", ".png", ".gz", ".stream"}
    golden = ROOT / "tests" / "golden"
    return [
        path
        for path in tracked
        if path.suffix not in binary and (path.suffix or golden not in path.parents)
    ]


@pytest.fixture(scope="session")
def pyproject():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())
