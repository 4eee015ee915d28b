"""Tell the results: a table, a file for machines, a plot."""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from peers.field import FLOOR, OURS

from conduitstore.engine.embedded import forest

from .measure import Result

BINDINGS = ("conduitstore", "lmdb", "rocksdict", "plyvel", "zstandard")


def conditions(seed: int, rounds: int) -> dict[str, Any]:
    """What a figure is worth nothing without."""
    return {
        "python": sys.version.split()[0],
        "build": "Python" if forest.__file__.endswith(".py") else "compiled",
        "machine": platform.machine(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "versions": {"SQLite": sqlite3.sqlite_version} | dict(map(installed, BINDINGS)),
        "commit": commit(),
        "seed": seed,
        "rounds": rounds,
    }


def installed(package: str) -> tuple[str, str]:
    try:
        return package, version(package)
    except PackageNotFoundError:
        return package, "absent"


def processor() -> str:
    """Its model, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def commit() -> str:
    here = Path(__file__).parent
    found = subprocess.run(  # noqa: S603 - no argument is anybody else's
        ["git", "-C", here, "describe", "--always", "--dirty"],  # noqa: S607 - the developer's git
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() or "unknown"


def table(results: Sequence[Result]) -> str:
    """Markdown: times of each, and the ratio to the quickest peer."""
    names = [name for name in results[0].seconds if name != FLOOR]
    floor = [FLOOR] if FLOOR in results[0].seconds else []
    heads = ["us an operation", *names, *floor, "as quick as the best peer", "spread", "short of"]
    lines = [heads, ["---", *["---:"] * (len(heads) - 2), "---"]]
    for result in results:
        best = result.ratios()[0] if len(names) > 1 else None
        lines.append(
            [
                f"{result.arena}: {result.line}",
                *(f"{result.median_us(name):.2f}" for name in (*names, *floor)),
                f"**{best.median:.2f}** of {best.peer}" if best else "",
                f"{best.lowest:.2f} to {best.highest:.2f}" if best else "",
                "; ".join(result.missed()),
            ]
        )
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def write(
    results: Sequence[Result], told: dict[str, Any], beside: Sequence[str], directory: Path
) -> None:
    """`results.json`, `results.md` and `ratios.svg`; ``beside`` are lines below the table."""
    directory.mkdir(parents=True, exist_ok=True)
    rows = [asdict(result) for result in results]
    everything = {"conditions": told, "results": rows, "beside": list(beside)}
    (directory / "results.json").write_text(json.dumps(everything, indent=1), encoding="utf-8")
    heading = "\n".join(f"- {name}: {value}" for name, value in told.items())
    below = "".join(f"- {line}\n" for line in beside)
    text = f"# Results\n\n{heading}\n\n{table(results)}\n\n{below}"
    (directory / "results.md").write_text(text, encoding="utf-8")
    plot(results, directory / "ratios.svg")


def plot(results: Sequence[Result], path: Path) -> None:
    """A bar a line and peer: right of 1 we are quicker. Without peers or matplotlib none."""
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - an extra, and slow to import
    except ModuleNotFoundError:
        print("no plot: matplotlib is not installed (extra `bench`)")
        return
    peers = [name for name in results[0].seconds if name not in (OURS, FLOOR)]
    if not peers:
        return
    figure = Figure(figsize=(9, 1 + 0.42 * len(results)), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / max(1, len(peers))
    for place, peer in enumerate(peers):
        ratios = [result.ratio(peer) for result in results]
        middles = [ratio.median for ratio in ratios]
        spread = [
            [ratio.median - ratio.lowest for ratio in ratios],
            [ratio.highest - ratio.median for ratio in ratios],
        ]
        rows = [row + place * height for row in range(len(results))]
        axes.barh(rows, middles, height, label=peer, xerr=spread, error_kw={"linewidth": 0.5})
    axes.set_yticks(
        [row + 0.4 - height / 2 for row in range(len(results))],
        [f"{result.arena}: {result.line}" for result in results],
        fontsize=8,
    )
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.invert_yaxis()
    axes.set_xlabel(f"time of the peer / time of {OURS}: right of 1 {OURS} is quicker")
    axes.legend(fontsize=8)
    figure.savefig(path)
