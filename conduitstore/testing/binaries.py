"""Where PostgreSQL's programs are, and whose name they run under.

PostgreSQL refuses to run as root. Where the caller is root, it runs as the first of
:data:`UNPRIVILEGED` that there is.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

CHOSEN = "CONDUITSTORE_TEST_POSTGRES"
"""Environment: the directory of the programs to use, instead of the newest found."""
NEEDED = ("initdb", "postgres", "pg_ctl", "pg_basebackup")
PLACES = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/local/pgsql/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
)
UNPRIVILEGED = ("postgres", "nobody")
MISSING = (
    "no PostgreSQL: pip install pgserver, install your system's PostgreSQL, name the directory of "
    f"its programs in {CHOSEN}, or name a running server in CONDUITSTORE_TEST_DSN"
)


def find_binaries() -> Path | None:
    """The directory of initdb and the others: the newest of the wheel's and the system's."""
    if chosen := os.environ.get(CHOSEN):
        return Path(chosen)
    whole = [place for place in _places() if all((place / name).exists() for name in NEEDED)]
    return max(whole, key=version_of, default=None)


def version_of(binaries: Path) -> tuple[int, ...]:
    """What ``postgres --version`` says, such as (15, 18)."""
    said = subprocess.run(
        [binaries / "postgres", "--version"], capture_output=True, text=True, check=True
    ).stdout
    return tuple(int(digits) for digits in re.findall(r"\d+", said)[:2])


def unprivileged_user() -> str | None:
    """Who servers run as; None: the caller, who is not root."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in UNPRIVILEGED if name in known)


def within_reach(binaries: Path, user: str | None, scratch: Path) -> Path:
    """The programs where ``user`` may run them: copied into ``scratch`` if they are not now.

    A virtual environment below root's home is closed to everybody else.
    """
    if user is None or _may_run(binaries / "postgres", user):
        return binaries
    package = binaries.parent.parent
    libraries = package.with_name(f"{package.name}.libs")  # Where wheels keep what they link to.
    for tree in (binaries.parent, libraries):
        if tree.is_dir():
            target = scratch / tree.relative_to(package.parent)
            shutil.copytree(tree, target, symlinks=True)
    return scratch / binaries.relative_to(package.parent)


def _may_run(program: Path, user: str) -> bool:
    group = pwd.getpwnam(user).pw_gid
    try:
        return not subprocess.run(
            [program, "--version"],
            user=user,
            group=group,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            check=False,
        ).returncode
    except PermissionError:
        return False


def _places() -> Iterator[Path]:
    wheel = importlib.util.find_spec("pgserver")
    if wheel is not None and wheel.origin is not None:
        yield Path(wheel.origin).parent / "pginstall" / "bin"
    for pattern in PLACES:
        yield from Path("/").glob(pattern[1:])
    if on_path := shutil.which("initdb"):
        yield Path(on_path).resolve().parent
