"""The command as the operating system sees it: a process with pipes and an exit status."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ndjson

MODULE = [sys.executable, "-m", "conduitstore"]
WITHOUT = "import sys; sys.modules[{!r}] = None; from conduitstore.cli import main; main()"


def run(*command, **options):
    return subprocess.run(
        [str(argument) for argument in command],
        capture_output=True,
        check=False,
        timeout=60,
        **options,
    )


def test_the_module_and_the_script_are_the_same_command():
    script = Path(sys.executable).with_name("conduitstore")
    by_module = run(*MODULE, "--version")
    assert by_module.returncode == 0
    assert by_module.stdout == run(script, "--version").stdout


def test_a_failure_is_a_line_and_a_status(tmp_path):
    result = run(*MODULE, "trees", "--path", tmp_path / "missing")
    assert (result.returncode, result.stdout) == (1, b"")
    assert result.stderr.count(b"\n") == 1


@pytest.mark.parametrize("library", ["click", "rich"])
def test_without_the_extra_the_command_says_how_to_get_it(library):
    result = run(sys.executable, "-c", WITHOUT.format(library))
    assert result.returncode == 1
    assert result.stderr.decode() == (
        f"the command line needs {library}: pip install 'conduitstore[cli]'\n"
    )


def test_the_library_does_not_need_the_extra():
    block = "import sys; sys.modules['click'] = sys.modules['rich'] = None\n"
    result = run(sys.executable, "-c", f"{block}import conduitstore, conduitstore.importer")
    assert (result.returncode, result.stderr) == (0, b"")


def test_a_pipe_in_and_a_pipe_out(path, room):
    records = ndjson(room.create, *(room.message(f"message {n}") for n in range(50)))
    imported = run(*MODULE, "import", "-", "--path", path, input=records)
    assert (imported.returncode, imported.stdout) == (0, b"51 events imported\n")
    page = run(*MODULE, "page", room.id, "--path", path, env={**os.environ, "LC_ALL": "C"})
    assert b"message 49" in page.stdout


def test_a_reader_that_goes_away_is_no_trouble(filled):
    command = [*MODULE, "scan", "pduid_pdu", "--json", "--path", str(filled)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
