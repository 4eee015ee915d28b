"""Fuzz every decoder, or those that are named, for so many seconds each: ``make fuzz``.

With atheris (libFuzzer, guided by coverage) where it is installed, else with the small fuzzer of
``conduitstore.testing.fuzz``. Each decoder runs in a process of its own. What atheris found worth
keeping stays in a corpus directory, if one is named.

    python tools/fuzz.py --seconds 60 --corpus corpus leaf row
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "fuzz"))
HAS_ATHERIS = importlib.util.find_spec("atheris") is not None


def targets() -> dict[str, Any]:
    """Loaded late: atheris wants to see the imports."""
    found: dict[str, Any] = importlib.import_module("targets").TARGETS
    return found


def with_atheris(name: str, seconds: int, corpus: Path) -> None:
    """Never returns: libFuzzer ends the process."""
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["conduitstore"]):
        target = targets()[name]
    where = corpus / name.replace(" ", "_")
    where.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds):
        (where / f"seed-{number}").write_bytes(seed)

    def run(data: bytes) -> None:
        try:
            target.run(data)
        except BaseException:
            print(f'TARGETS["{name}"].run(bytes.fromhex({data.hex()!r}))')
            raise

    limits = [f"-max_total_time={seconds}", "-max_len=20000", "-rss_limit_mb=2048", "-timeout=60"]
    atheris.Setup([sys.argv[0], *limits, "-print_final_stats=1", str(where)], run)
    atheris.Fuzz()


def without(name: str, seconds: int) -> None:
    """The same with our own."""
    from conduitstore.testing.fuzz import fuzz  # noqa: PLC0415

    target = targets()[name]
    report = fuzz(target.run, target.seeds, seed=1, runs=1 << 40, seconds=seconds)
    print(report)


def main() -> int:
    """Every decoder, one process after the other; 1 where one of them found something."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--here", action="store_true", help="in this process")
    asked = parser.parse_args()
    if asked.here:
        corpus = asked.corpus or Path(tempfile.mkdtemp())
        if HAS_ATHERIS:
            with_atheris(asked.names[0], asked.seconds, corpus)
        without(asked.names[0], asked.seconds)
        return 0
    failed = []
    for name in asked.names or targets():
        print(f"== {name}, {'atheris' if HAS_ATHERIS else 'without atheris'}", flush=True)
        more = ["--corpus", str(asked.corpus)] if asked.corpus else []
        call = [sys.executable, __file__, "--here", "--seconds", str(asked.seconds), *more, name]
        done = subprocess.run(call, check=False, capture_output=True, text=True)  # noqa: S603
        lines = (done.stdout + done.stderr).splitlines()
        told = [line for line in lines if line.startswith(("stat::number_of", "Report("))]
        print("\n".join(lines[-60:] if done.returncode else told), flush=True)
        failed += [name] if done.returncode else []
    print(f"findings in: {', '.join(failed)}" if failed else "nothing was found")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
