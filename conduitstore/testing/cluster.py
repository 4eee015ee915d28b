"""Three PostgreSQL servers: one that takes writes, and standbys that its durable commits wait for.

    with cluster() as nodes:
        db = conduitstore.open(nodes.dsn, durability="commit")
        lost = nodes.fail_over()    # the primary is killed, the standby that has most takes over
        nodes.join(port=lost.port)  # a new standby takes the place of what was lost

A durable commit is acknowledged when any one standby has it, so it survives the loss of one node.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from urllib.parse import quote

from .postgres import USER, Server, running, standby_of
from .proxy import HOST

STANDBYS = 2


class Cluster:
    """Servers under the names ``node1``, ``node2`` and so on."""

    def __init__(self, stack: ExitStack, primary: Server, settings: Mapping[str, str]) -> None:
        self._stack = stack
        self._settings = settings
        self._named = 1
        self.primary = primary
        self.standbys: dict[str, Server] = {}

    @property
    def dsn(self) -> str:
        """All of them over loopback: whoever connects finds the one that takes writes."""
        ports = [self.primary.port, *(standby.port for standby in self.standbys.values())]
        return self.dsn_over(*ports)

    def dsn_over(self, *ports: int) -> str:
        """Like :attr:`dsn`, over other ports, such as those of proxies."""
        hosts = ",".join(f"{HOST}:{port}" for port in ports)
        login = f"{USER}:{quote(self.primary.password)}"
        return f"postgresql://{login}@{hosts}/postgres?target_session_attrs=read-write"

    def join(self, *, port: int = 0) -> Server:
        """Add a standby, a copy of the primary; it may take the port of one that is lost."""
        self._named += 1
        name = f"node{self._named}"
        made = standby_of(self.primary, name=name, port=port, settings=self._settings)
        self.standbys[name] = self._stack.enter_context(made)
        self._set_quorum()
        return self.standbys[name]

    def fail_over(self) -> Server:
        """Kill the primary, and let the standby that has received most take over.

        Gives what was the primary. Its clients find the new one by :attr:`dsn`, as it was before.
        """
        lost = self.primary
        lost.kill()
        name = max(self.standbys, key=lambda name: _received(self.standbys[name]))
        self.primary = self.standbys.pop(name)
        self._set_quorum()  # Before it takes a write: none may count as safe that no standby has.
        self.primary.promote()
        for other, standby in self.standbys.items():
            standby.follow(self.primary, other)
        return lost

    def _set_quorum(self) -> None:
        names = ", ".join(self.standbys)
        quorum = f"ANY 1 ({names})" if names else ""
        self.primary.configure({"synchronous_standby_names": quorum})


def _received(standby: Server) -> tuple[int, int]:
    """How much of its primary's log it has, as a position."""
    query = "SELECT coalesce(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())"
    high, _, low = standby.run("psql", "-XAtc", query, standby.dsn).strip().partition("/")
    return int(high, 16), int(low, 16)


@contextmanager
def cluster(
    *, standbys: int = STANDBYS, settings: Mapping[str, str] | None = None
) -> Iterator[Cluster]:
    """Make a primary and its standbys; arguments and errors are those of :func:`running`."""
    settings = settings or {}
    with ExitStack() as stack:
        nodes = Cluster(stack, stack.enter_context(running(settings=settings)), settings)
        for _ in range(standbys):
            nodes.join()
        yield nodes
