"""docs/scale-out.md: its commands and examples work, in the order of the page, on free ports."""

import os
import pwd
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from conduitstore.testing import binaries, keeper
from conduitstore.testing.postgres import _free_port

PAGE = Path(__file__).parents[2] / "docs" / "scale-out.md"
BLOCKS = re.findall(r"^```(sh|python)\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
STOP = (
    "trap 'for node in {here}/node?; do {programs}/pg_ctl stop -m immediate -D $node; done;"
    " kill %1' EXIT; trap exit INT QUIT TERM; sleep 1000000 & wait"
)
BEGIN = """port=(0 {ports})
initdb() {{
    command initdb --no-sync "$@"
    printf 'fsync = off\\nwal_retrieve_retry_interval = 50ms\\n' >> node1/postgresql.conf
}}
pg_basebackup() {{ command pg_basebackup --no-sync "$@"; }}
"""
"""Before each block: nobody cuts the power here, and a standby looks for its primary at once."""
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(binaries.find_binaries() is None, reason=binaries.MISSING),
]


@pytest.fixture
def shell():
    """Runs a script as somebody who may run servers, which end with the test, however it ends."""
    user = binaries.unprivileged_user()
    with tempfile.TemporaryDirectory(prefix="conduitstore-page-") as here:
        if user is not None:
            os.chown(here, pwd.getpwnam(user).pw_uid, -1)
        programs = binaries.within_reach(binaries.find_binaries(), user, Path(here))
        stop = ["bash", "-c", STOP.format(here=here, programs=programs)]
        kept = [sys.executable, "-I", keeper.__file__, str(os.getpid()), user or "", here, "--"]
        outside = {name: text for name, text in os.environ.items() if not name.startswith("PG")}
        ours = {"PATH": f"{programs}:{os.environ['PATH']}", "PGPASSFILE": f"{here}/pgpass"}
        with subprocess.Popen([*kept, *stop], stdout=subprocess.PIPE, text=True) as process:
            pid = int(process.stdout.readline())

            def run(script):
                result = subprocess.run(
                    ["bash", "-euo", "pipefail", "-c", script],
                    cwd=here,
                    env=outside | ours,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    check=False,
                    timeout=500,
                    **({} if user is None else {"user": user, "group": pwd.getpwnam(user).pw_gid}),
                )
                assert result.returncode == 0, f"{script}\n{result.stdout}"
                return result.stdout

            yield run
            os.kill(pid, 15)


def on(ports, text):
    """A block of the page with free ports in the place of its own."""
    text = text.replace("544$number", "${port[$number]}")
    for shown, free in ports.items():
        text = text.replace(shown, free)
    return text


def test_each_command_and_example_works(shell):
    ports = {f"544{number}": str(_free_port()) for number in (1, 2, 3)}
    begin = BEGIN.format(ports=" ".join(ports.values()))
    for kind, text in BLOCKS:
        if kind == "python":
            exec(compile(on(ports, text), "docs/scale-out.md", "exec"), {})
        elif not text.startswith("pip "):
            shell(begin + on(ports, text))
