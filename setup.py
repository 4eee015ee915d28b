"""The compiled build: ``CONDUITSTORE_COMPILE=1 pip install .`` has mypyc make C of some modules.

Everything else that a build needs to know is in pyproject.toml. Without the variable nothing is
compiled and no compiler is needed.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from setuptools import setup

MODULES = [
    "conduitstore/engine/embedded/batches.py",
    "conduitstore/engine/embedded/cache.py",
    "conduitstore/engine/embedded/columns.py",
    "conduitstore/engine/embedded/draft.py",
    "conduitstore/engine/embedded/edits.py",
    "conduitstore/engine/embedded/excerpt.py",
    "conduitstore/engine/embedded/files.py",
    "conduitstore/engine/embedded/forest.py",
    "conduitstore/engine/embedded/format.py",
    "conduitstore/engine/embedded/index.py",
    "conduitstore/engine/embedded/leaf.py",
    "conduitstore/engine/embedded/logfile.py",
    "conduitstore/engine/embedded/page.py",
    "conduitstore/engine/embedded/wal.py",
]
MYPYC = "mypy[mypyc]>=1.13"
# Types were checked by `make types`, with the libraries there; here these may be absent.
FLAGS = [
    "--config-file=",
    "--ignore-missing-imports",
    "--follow-imports=silent",
    "--no-warn-no-return",
]


def compiled() -> dict[str, Any]:
    """What a compiled build tells setuptools more than any other."""
    try:
        from mypyc.build import mypycify  # noqa: PLC0415 - other builds have no mypy
    except ModuleNotFoundError:
        if "egg_info" not in sys.argv:
            raise
        return {"setup_requires": [MYPYC]}  # This is how pip asks what the build will need.
    return {"ext_modules": mypycify([*FLAGS, *MODULES], opt_level="3", group_name="conduitstore")}


if __name__ == "__main__":
    setup(**compiled() if os.environ.get("CONDUITSTORE_COMPILE") == "1" else {})
