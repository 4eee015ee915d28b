"""The command as the operating system sees it: a process with pipes and an exit status."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import conduitstore

from .conftest import ndjson

MODULE = [sys.executable, "-m", "conduitstore"]
WITHOUT = "import sys; sys.modules[{!r}] = None; from conduitstore.cli import main; main()"


def run(*command, **options):
    return subprocess.run(
        [str(argument) for argument in command],
        capture_output=True,
        check=False,
        timeout=300,
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


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_locale_without_the_characters_shows_marks_in_their_place(path, room, encoding):
    records = ndjson(room.create, room.message("caf\u00e9 \u2615"))
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    refused = run(*MODULE, "import", "-", "--path", path, input=records * 2, env=environment)
    assert refused.returncode == 1
    page = run(*MODULE, "page", room.id, "--path", path, env=environment)
    assert (page.returncode, page.stderr) == (0, b"")
    assert "café ?".encode(encoding, "replace") in page.stdout


@pytest.fixture
def interruptible():
    """A shell starts what runs in its background deaf to interrupts, and children inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_import_that_is_interrupted_says_how_far_it_came(path, room):
    records = [room.create, *(room.message(f"message {n}") for n in range(20))]
    with subprocess.Popen(
        [*MODULE, "import", "-", "--path", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        # A refusal is reported at once: whatever came before it is in.
        process.stdin.write(ndjson(*records) + b"no JSON\n" + b"\n" * 10_000)
        process.stdin.flush()
        assert process.stderr.readline().startswith(b"line 22: not JSON")
        process.send_signal(signal.SIGINT)
        stderr = process.stderr.read()
        assert process.wait(30) == 1
    assert b"21 events imported; 1 lines refused" in stderr
    assert b"Traceback" not in stderr
    with conduitstore.open(path) as store:
        assert len(store.rooms.timeline.page(room.id, None, "f", 99)[0]) == 21
        assert not store.db.was_recovered


def test_an_import_onto_a_full_disk_says_so_and_keeps_what_it_said(path, room):
    """A limit on the size of files stands in for the disk."""
    conduitstore.open(path).close()
    limit = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000)); "
        "from conduitstore.cli import main; main()"
    )
    records = [room.create, *(room.message(f"message {n} {'x' * 500}") for n in range(300))]
    result = run(sys.executable, "-c", limit, "import", "-", "--path", path, input=ndjson(*records))
    assert result.returncode == 1
    assert b"Traceback" not in result.stderr
    imported = int(result.stdout.split()[0])
    assert 0 < imported < 301
    with conduitstore.open(path) as store:
        assert len(store.rooms.timeline.page(room.id, None, "f", 999)[0]) == imported
