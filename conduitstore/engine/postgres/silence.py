"""Connections on which nobody waits for ever: a server that says nothing for too long is given up.

The server ends by itself what takes longer than it may, and says so. Where it says nothing even
then, the network takes bytes and delivers none, or the machine hangs: TCP notices neither.
"""

from __future__ import annotations

import time
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen

T = TypeVar("T")


class SilentServerError(psycopg.OperationalError):
    """The server did not answer in time. The connection is closed."""


class BoundedConnection(psycopg.Connection[tuple[Any, ...]]):
    """Closes itself and raises where not one byte comes or goes for ``silence_max_ms``."""

    silence_max_ms: int | None = None
    """None: wait for however long it takes."""

    def wait(self, gen: PQGen[T], *args: Any, **kwargs: Any) -> T:
        """See :meth:`psycopg.Connection.wait`, through which every exchange goes."""
        if self.silence_max_ms is not None:
            gen = self._bounded(gen, self.silence_max_ms)
        return super().wait(gen, *args, **kwargs)

    def _bounded(self, gen: PQGen[T], silence_max_ms: int) -> PQGen[T]:
        """What ``gen`` does. psycopg tells it ten times a second where it waits in vain.

        It may be this process that was stopped meanwhile, and the answer be there: so it is waited
        for in vain once more, behind the time, before the server is given up.
        """
        try:
            wanted = next(gen)
            heard, is_late = time.monotonic(), False
            while True:
                ready = yield wanted
                if ready:
                    heard, is_late = time.monotonic(), False
                elif not is_late:
                    is_late = time.monotonic() - heard > silence_max_ms / 1000
                else:
                    self.close()  # Else whoever cleans up behind it would wait as long again.
                    raise SilentServerError(
                        f"no answer for {silence_max_ms} ms, the network or the server hangs"
                    )
                wanted = gen.send(ready)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
