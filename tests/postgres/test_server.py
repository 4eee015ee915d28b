"""Servers for tests: they do what they are told, and leave nothing behind."""

import os
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from patience import eventually

from conduitstore.testing import binaries, postgres
from conduitstore.testing.postgres import ServerError, running, standby_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(binaries.find_binaries() is None, reason=binaries.MISSING),
]
KILLED = """
import os, sys, time
from conduitstore.testing.postgres import running
with running() as server:
    if child := os.fork():
        print(server.pid, server._keeper.pid, child, server.directory, flush=True)
    time.sleep(60)
"""


@pytest.fixture(scope="module")
def server():
    """One that no other test's stores are on: it is stopped and killed."""
    with running(settings={"work_mem": "1234kB"}) as server:
        yield server


def ask(dsn, query):
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(query)
        return cursor.fetchone()[0] if cursor.description else None


def is_gone(pid):
    """Whether the process ended; one that nobody waits for counts as ended."""
    if Path("/proc/self").exists():
        try:
            return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):  # The latter: it ended behind the open.
            return True
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return False
    return True


def test_it_answers_on_its_socket_and_asks_for_a_password_on_its_port(server):
    assert ask(server.dsn, "SHOW work_mem") == "1234kB"
    assert ask(server.dsn_over(server.port), "SELECT 1") == 1
    with pytest.raises(psycopg.OperationalError, match="password"):
        ask(server.dsn_over(server.port).replace(server.password, "guessed"), "SELECT 1")
    assert server.sockets.stat().st_mode & 0o077 == 0
    assert ask(server.dsn, "SHOW listen_addresses") == "127.0.0.1"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it is asked otherwise")
def test_a_process_may_end_while_it_is_looked_at():
    """Once that was an error, one time in ten."""
    for _ in range(50):
        child = subprocess.Popen(["true"])
        with ThreadPoolExecutor(1) as waiter:
            waiter.submit(child.wait)
            while not is_gone(child.pid):
                pass


def test_the_server_of_the_session_answers(postgres_server):
    assert ask(postgres_server.dsn, "SELECT 1") == 1


@pytest.mark.parametrize("end", ["smart", "fast", "immediate", "kill"])
def test_it_ends_as_told_and_starts_again_where_it_was(server, end):
    ask(server.dsn, f"CREATE TABLE ended_{end} AS SELECT 7 AS answer")
    pid, dsn = server.pid, server.dsn
    server.kill() if end == "kill" else server.stop(end)
    assert is_gone(pid)
    assert not server.is_running
    with pytest.raises(psycopg.OperationalError):
        ask(dsn, "SELECT 1")
    server.start()
    assert server.dsn == dsn
    assert ask(dsn, f"SELECT answer FROM ended_{end}") == 7


def test_a_killed_server_takes_its_backends_along(server):
    with psycopg.connect(server.dsn) as connection:
        backend = connection.info.backend_pid
        server.kill()
        assert is_gone(backend)
    server.start()


def test_settings_change_while_it_runs(server):
    server.configure({"work_mem": "4321kB"})
    eventually(lambda: ask(server.dsn, "SHOW work_mem") == "4321kB")


def test_a_standby_follows_its_primary_and_takes_over(server):
    with standby_of(server, name="second", settings={"work_mem": "99kB"}) as standby:
        query = "SELECT application_name FROM pg_stat_replication WHERE state = 'streaming'"
        eventually(lambda: ask(server.dsn, f"SELECT count(*) FROM ({query}) AS q") == 1)
        assert ask(server.dsn, query) == "second"
        assert ask(standby.dsn, "SHOW work_mem") == "99kB"
        ask(server.dsn, "CREATE TABLE followed AS SELECT 5 AS answer")
        eventually(lambda: ask(standby.dsn, "SELECT to_regclass('followed') IS NOT NULL"))
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            ask(standby.dsn, "CREATE TABLE refused (a int)")
        server.kill()
        standby.promote()
        ask(standby.dsn, "CREATE TABLE taken_over (a int)")
        assert ask(standby.dsn, "SELECT answer FROM followed") == 5
        server.start()


def test_its_files_stay_where_the_caller_chose_a_place():
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        place = Path(directory) / ("long-name-" * 12)
        with running(place) as server:
            ask(server.dsn, "CREATE TABLE kept AS SELECT 3 AS answer")
        with running(place) as server:
            assert ask(server.dsn, "SELECT answer FROM kept") == 3


def test_one_that_does_not_start_says_why():
    with (
        pytest.raises(ServerError, match="no_such_setting"),
        running(settings={"no_such_setting": "1"}),
    ):
        pass


def test_it_ends_with_its_caller_and_leaves_nothing_behind():
    with subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True) as run:
        pid, keeper, child, directory = run.stdout.readline().split()
        try:
            run.kill()
            eventually(lambda: is_gone(int(pid)) and is_gone(int(keeper)))
            eventually(lambda: not Path(directory).exists())
        finally:
            os.kill(int(child), signal.SIGKILL)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of a death")
def test_it_ends_with_its_keeper():
    with running() as server:
        pid = server.pid
        server._keeper.kill()
        eventually(lambda: is_gone(pid))


def test_without_postgresql_it_says_what_to_do(monkeypatch):
    monkeypatch.setattr(postgres, "find_binaries", lambda: None)
    with pytest.raises(ServerError, match="pip install pgserver"), running():
        pass


def test_the_newest_programs_are_taken_and_others_can_be_named(monkeypatch, tmp_path):
    for version, parts in (
        ("9.6", binaries.NEEDED),
        ("15.2", binaries.NEEDED),
        ("17.1", ["initdb"]),
    ):
        place = tmp_path / version
        place.mkdir()
        for name in parts:
            (place / name).write_text(f"#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n")
            (place / name).chmod(0o755)
    places = [tmp_path / version for version in ("9.6", "15.2", "17.1")]
    monkeypatch.delenv(binaries.CHOSEN, raising=False)
    monkeypatch.setattr(binaries, "_places", lambda: iter(places))
    assert binaries.find_binaries() == tmp_path / "15.2"
    monkeypatch.setenv(binaries.CHOSEN, str(tmp_path / "9.6"))
    assert binaries.find_binaries() == tmp_path / "9.6"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs it as somebody else")
def test_programs_that_the_user_cannot_reach_are_copied(tmp_path):
    tmp_path.chmod(0o700)
    programs = tmp_path / "wheel" / "pginstall" / "bin"
    libraries = tmp_path / "wheel.libs"
    for directory in (programs, libraries):
        directory.mkdir(parents=True)
    (programs / "postgres").write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 16.2'\n")
    (programs / "postgres").chmod(0o755)
    (libraries / "libpq.so").touch()
    user = binaries.unprivileged_user()
    with tempfile.TemporaryDirectory() as directory:
        scratch = Path(directory)
        scratch.chmod(0o755)
        found = binaries.within_reach(programs, user, scratch)
        assert found == scratch / "wheel" / "pginstall" / "bin"
        assert (scratch / "wheel.libs" / "libpq.so").exists()
        assert binaries.within_reach(found, user, scratch) == found


@pytest.mark.skipif(sys.platform != "linux", reason="names of no file are Linux's")
def test_two_processes_never_take_the_same_port():
    port = postgres._free_port()
    with pytest.raises(OSError, match="in use"):  # Without an open socket that is forgotten.
        postgres._claim(port)
