"""A PostgreSQL server of one's own, without root and without prior set-up.

    with running() as server:
        conduitstore.open(server.dsn)
        with standby_of(server) as standby:
            server.kill()
            standby.promote()

- Servers listen on a unix socket in a directory nobody else may enter and on a loopback port that
  asks for a password. They run as an unprivileged user where the caller is root.
- They end with the caller, however it ends, and then their files go too: see :mod:`.keeper`.
- ``fsync`` is off: only a machine that dies would lose something by it. What was committed with
  ``synchronous_commit = off`` a killed server may lose, as in production.
"""

from __future__ import annotations

import os
import pwd
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from . import keeper
from .binaries import MISSING, find_binaries, unprivileged_user, within_reach
from .proxy import HOST, Proxy

__all__ = ["Proxy", "Server", "ServerError", "find_binaries", "running", "standby_of"]

StopMode = Literal["smart", "fast", "immediate"]
SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
USER = "postgres"
PATIENCE_SECONDS = 60
LOOKS_EVERY_SECONDS = 0.02
PORTS = range(20_000, 32_000)
"""Below those that outgoing connections get, so that a restart finds its own free."""
STILL_THERE = ("is still in use", "Address already in use", "lock file")
"""What the log says while remains of a killed server are going."""
SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "100",
    "max_wal_senders": "10",
    "wal_level": "replica",
    "wal_keep_size": "256MB",
    "wal_sender_timeout": "5s",
    "wal_receiver_timeout": "5s",
    "wal_retrieve_retry_interval": "50ms",  # How long a standby waits that has lost its primary.
    "listen_addresses": HOST,
    "log_checkpoints": "off",
    "timezone": "UTC",
    "lc_messages": "C",
}


class ServerError(Exception):
    """A server could not be made or started; the message ends with its log."""


class Server:
    """One server and its files."""

    def __init__(
        self, directory: Path, sockets: Path, binaries: Path, user: str | None, password: str
    ) -> None:
        self.directory = directory
        self.data_directory = directory / "data"
        self.log = directory / "log"
        self.sockets = sockets
        self.binaries = binaries
        self.user = user
        self.password = password
        self.port = 0
        self.pid = 0
        self.temporary: list[Path] = []
        """What the keeper removes when nobody else can any more."""
        self._keeper: subprocess.Popen[str] | None = None

    @property
    def dsn(self) -> str:
        """Over the unix socket."""
        where = quote(str(self.sockets), safe="")
        return f"postgresql://{USER}@/postgres?host={where}&port={self.port}"

    def dsn_over(self, port: int) -> str:
        """Over a loopback port: its own, or a proxy's."""
        return f"postgresql://{USER}:{self.password}@{HOST}:{port}/postgres"

    @property
    def is_running(self) -> bool:
        """Whether the server's first process lives."""
        return self._keeper is not None and self._keeper.poll() is None

    def start(self) -> None:
        """Start it on the same port as before, and wait until it answers."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self._try_to_start(deadline):
            if time.monotonic() > deadline:
                raise ServerError(f"the server does not start:\n{self.log_tail()}")
            time.sleep(LOOKS_EVERY_SECONDS)

    def stop(self, mode: StopMode = "fast") -> None:
        """End it; ``immediate`` leaves a crash behind, for the next start to recover from."""
        if self.is_running:
            self._signal(SIGNALS[mode])
        self._bury()

    def kill(self) -> None:
        """SIGKILL to its first process; the others notice that soon after."""
        if self.is_running:
            self._signal(signal.SIGKILL)
        self._bury()

    def promote(self) -> None:
        """Make a standby the primary, and wait until it is."""
        self.run("pg_ctl", "promote", "--wait", "-D", str(self.data_directory))

    def follow(self, primary: Server, name: str) -> None:
        """As a standby, take the log of ``primary``; it knows this one by ``name``."""
        source = f"{primary.dsn}&application_name={quote(name)}"
        self.configure({"primary_conninfo": source})

    def configure(self, settings: Mapping[str, str]) -> None:
        """Set what a server reads again while it runs, or at the next start."""
        with (self.data_directory / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
        if self.is_running:
            self._signal(signal.SIGHUP)

    def run(self, program: str, *arguments: str) -> str:
        """Run one of PostgreSQL's programs as the server's user; gives what it printed."""
        done: subprocess.CompletedProcess[str] = subprocess.run(
            [self.binaries / program, *arguments],
            env=_environment(),
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            **_identity(self.user),
        )
        if done.returncode:
            raise ServerError(f"{program} failed: {done.stderr.strip()}\n{self.log_tail()}")
        return done.stdout

    def log_tail(self, total: int = 20) -> str:
        """The last lines of its log."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-total:])

    def _try_to_start(self, deadline: float) -> bool:
        """Start it; False when what is left of a killed one is still in the way."""
        self.configure({"port": str(self.port), "unix_socket_directories": str(self.sockets)})
        logged = self.log.stat().st_size if self.log.exists() else 0
        self._keep()
        while self.is_running and time.monotonic() < deadline:
            if self._status() in {"ready", "standby"}:
                return True
            time.sleep(LOOKS_EVERY_SECONDS)
        self._bury()
        said = self.log.read_bytes()[logged:].decode(errors="replace")
        if not any(phrase in said for phrase in STILL_THERE):
            raise ServerError(f"the server does not start:\n{self.log_tail()}")
        return False

    def _keep(self) -> None:
        """Start the server under a keeper, which outlives this process for a moment."""
        arguments = [str(os.getpid()), self.user or "", *map(str, self.temporary), "--"]
        command = [str(self.binaries / "postgres"), "-D", str(self.data_directory)]
        with self.log.open("ab") as log:
            self._keeper = subprocess.Popen(
                [sys.executable, "-I", "-S", keeper.__file__, *arguments, *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=_environment(),
                start_new_session=True,  # Ctrl-C is for the caller, who then stops the server.
                text=True,
            )
        assert self._keeper.stdout is not None
        with self._keeper.stdout as said:
            self.pid = int(said.readline() or 0)

    def _status(self) -> str:
        """What the server says of itself, in a file: "starting", "ready", "standby" and others."""
        try:
            lines = (self.data_directory / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return ""
        return lines[7].strip() if len(lines) > 7 and lines[0] == str(self.pid) else ""

    def _signal(self, number: int) -> None:
        if self.pid:
            os.kill(self.pid, number)

    def _bury(self) -> None:
        if self._keeper is None:
            return
        try:
            self._keeper.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self._keeper.wait()
        self._keeper, self.pid = None, 0


@contextmanager
def running(directory: Path | None = None, *, settings: Mapping[str, str] = {}) -> Iterator[Server]:
    """Make a server and run it.

    Args:
        directory: where its files are, and stay; made if missing. The server's user must be able to
            get there. None: a temporary one, removed at the end.
        settings: lines of postgresql.conf, besides :data:`SETTINGS`.

    Raises:
        ServerError: there is no PostgreSQL, or it does not start.
    """
    binaries = find_binaries()
    if binaries is None:
        raise ServerError(MISSING)
    with ExitStack() as stack:
        server = _placed(stack, directory, binaries, secrets.token_hex(16))
        if not (server.data_directory / "PG_VERSION").exists():
            _initialise(server)
        yield from _run(stack, server, settings)


@contextmanager
def standby_of(
    primary: Server,
    directory: Path | None = None,
    *,
    name: str = "standby",
    port: int = 0,
    settings: Mapping[str, str] = {},
) -> Iterator[Server]:
    """Copy a running server and run the copy as its standby; ``name`` is its application_name.

    ``port`` is the one to listen on; 0: any.
    It follows by itself from then on. Its password and, but for ``settings``, its configuration are
    those of the primary.
    """
    with ExitStack() as stack:
        server = _placed(stack, directory, primary.binaries, primary.password)
        copying = ("-X", "stream", "-c", "fast", "--no-sync")
        server.run("pg_basebackup", "-d", primary.dsn, "-D", str(server.data_directory), *copying)
        (server.data_directory / "standby.signal").touch()
        server.follow(primary, name)
        server.port = port
        yield from _run(stack, server, settings)


def _run(stack: ExitStack, server: Server, settings: Mapping[str, str]) -> Iterator[Server]:
    server.port = server.port or _free_port()
    server.configure(settings)
    stack.callback(server.stop, "immediate")
    server.start()
    yield server


def _placed(stack: ExitStack, directory: Path | None, binaries: Path, password: str) -> Server:
    """A server with its directories, which its user owns; the temporary ones go with ``stack``."""
    user = unprivileged_user()
    scratch = Path(tempfile.mkdtemp(prefix="conduitstore-postgres-"))
    stack.callback(shutil.rmtree, scratch, ignore_errors=True)
    _give(scratch, user)
    place = scratch if directory is None else directory.absolute()
    place.mkdir(parents=True, exist_ok=True)
    _give(place, user)
    sockets = scratch / "sockets"  # A short path: a socket's name ends after about a hundred bytes.
    sockets.mkdir(mode=0o700)
    _give(sockets, user)
    server = Server(place, sockets, within_reach(binaries, user, scratch), user, password)
    server.temporary.append(scratch)
    return server


def _initialise(server: Server) -> None:
    word = server.directory / "password"
    word.write_text(server.password)
    _give(word, server.user)
    auth = ("--auth-local=trust", "--auth-host=scram-sha-256", f"--pwfile={word}")
    how = ("--no-sync", "--encoding=UTF8", "--locale=C", "-U", USER, *auth)
    server.run("initdb", "-D", str(server.data_directory), *how)
    word.unlink()
    server.configure(SETTINGS)


def _give(path: Path, user: str | None) -> None:
    if user is not None:
        entry = pwd.getpwnam(user)
        os.chown(path, entry.pw_uid, entry.pw_gid)


def _identity(user: str | None) -> dict[str, Any]:
    """Arguments of subprocess that run a program as ``user``."""
    if user is None:
        return {}
    return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": ()}


def _environment() -> dict[str, str]:
    """Ours without PG* variables, which would speak for somebody else's server."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return ours | {"LC_ALL": "C"}


def _free_port() -> int:
    for port in random.sample(PORTS, 100):
        with socket.socket() as probe:
            try:
                _claim(port)
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise ServerError(f"no free port on {HOST} between {PORTS.start} and {PORTS.stop}")


def _claim(port: int) -> None:
    """Keep other processes like this one off a port until its server listens, on Linux.

    Raises:
        OSError: one of them has it.
    """
    if sys.platform == "linux":  # A name of no file, which goes with the process.
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0conduitstore-port-{port}")
        except OSError:
            claim.close()
            raise
        _claims.append(claim)


_claims: list[socket.socket] = []
