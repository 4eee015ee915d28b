"""How many faults each suite injected, added up over a run of tests.

    tally("crashes in every call", report.crashes_total)

A ``conftest.py`` that imports the hooks from here prints the table at the end of the session, also
where pytest-xdist spread it over processes. With ``FAULTS_AT_LEAST`` in the environment a session
with fewer fails.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

faults: Counter[str] = Counter()
"""By suite, how many faults were injected in this process so far."""


def tally(suite: str, total: int) -> None:
    """Count ``total`` more faults of a suite."""
    faults[suite] += total


def lines() -> list[str]:
    """The table, the sum last; nothing where nothing was counted."""
    if not faults:
        return []
    rows = [*sorted(faults.items()), ("sum", sum(faults.values()))]
    width = max(len(suite) for suite, _ in rows)
    return [f"{suite:<{width}}  {total:>9,}" for suite, total in rows]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the table."""
    if faults:
        terminalreporter.section("faults injected")
        for line in lines():
            terminalreporter.write_line(line)
        if _too_few():
            terminalreporter.write_line(
                f"Fewer than FAULTS_AT_LEAST={_least()} asks for.", red=True
            )


def pytest_testnodedown(node: Any) -> None:
    """Add what a process of pytest-xdist's has counted; one that died has told nothing."""
    faults.update(getattr(node, "workeroutput", {}).get("faults", {}))


def pytest_sessionfinish(session: Any) -> None:
    """Fail the session where fewer faults were injected than were asked for."""
    if hasattr(session.config, "workeroutput"):  # One process of several: the first one judges.
        session.config.workeroutput["faults"] = dict(faults)
    elif _too_few() and session.exitstatus == 0:
        session.exitstatus = 1


def _least() -> int:
    return int(os.environ.get("FAULTS_AT_LEAST", "0"))


def _too_few() -> bool:
    return sum(faults.values()) < _least()
