"""A TCP proxy on loopback, between a client and a server: a network that fails when told to.

    with Proxy(server.port) as proxy:
        dsn = server.dsn_over(proxy.port)
        proxy.cut()        # every connection ends now, on both sides
        proxy.stall()      # bytes stop, connections stay; resume() lets them go on
        proxy.refuse()     # nobody gets in any more; accept() opens again
        proxy.judge = fn   # fn(bytes, from_client) decides about each piece that passes

``judge`` gives ``"pass"``, ``"drop"`` (the connection is cut and the other side never sees the
piece), ``"last"`` (it sees the piece, and then the connection is cut) or ``"stall"`` (bytes stop
before the piece). So an answer can be lost while what it answers happened. It runs in the proxy's
threads, of which each connection has two.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Literal, Self

Judgement = Literal["pass", "drop", "last", "stall"]
PIECE_BYTES_MAX = 65_536
HOST = "127.0.0.1"


def passes(_piece: bytes, _from_client: bool, /) -> Judgement:  # noqa: FBT001 - called by position
    """Let everything pass."""
    return "pass"


class Proxy:
    """Listens on a port of its own, and connects each client to ``target`` on loopback."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.judge: Callable[[bytes, bool], Judgement] = passes
        self.connections_total = 0
        self._flows = threading.Event()
        self._flows.set()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self.port = 0
        self.accept()

    def accept(self) -> None:
        """Let clients in, again on the same port."""
        if self._listener is None:
            self._listener = socket.create_server((HOST, self.port), backlog=128)
            self.port = int(self._listener.getsockname()[1])
            threading.Thread(target=self._listen, args=(self._listener,), daemon=True).start()

    def refuse(self) -> None:
        """Let nobody in; who is in stays."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # Wakes the thread that listens, on Linux.
            listener.close()

    def cut(self) -> int:
        """End every connection, on both sides; gives how many there were."""
        with self._lock:
            pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            _end(pair)
        return len(pairs)

    def stall(self) -> None:
        """Hold every byte back, both ways; connections stay and new ones get in."""
        self._flows.clear()

    def resume(self) -> None:
        """Let the bytes go on that were held back."""
        self._flows.set()

    def close(self) -> None:
        """Stop for good."""
        self.refuse()
        self.judge = passes
        self.cut()
        self.resume()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _listen(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:  # Refused.
                return
            try:
                server = socket.create_connection((HOST, self.target))
            except OSError:  # The server is down: as if it were asked itself.
                client.close()
                continue
            self._connect(client, server)

    def _connect(self, client: socket.socket, server: socket.socket) -> None:
        pair = client, server
        for end in pair:
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._pairs.add(pair)
            self.connections_total += 1
        for from_client in (True, False):
            arguments = (pair, from_client)
            threading.Thread(target=self._pump, args=arguments, daemon=True).start()

    def _pump(self, pair: tuple[socket.socket, socket.socket], from_client: bool) -> None:  # noqa: FBT001
        source, sink = pair if from_client else pair[::-1]
        with suppress(OSError):
            while piece := source.recv(PIECE_BYTES_MAX):
                if not self._forward(piece, sink, from_client):
                    break
        with self._lock:
            self._pairs.discard(pair)
        _end(pair)

    def _forward(self, piece: bytes, sink: socket.socket, from_client: bool) -> bool:  # noqa: FBT001
        """Pass a piece on; False when the connection ends with it."""
        self._flows.wait()
        judgement = self.judge(piece, from_client)
        if judgement == "stall":
            self.stall()
            self._flows.wait()
        if judgement != "drop":
            sink.sendall(piece)
        return judgement in {"pass", "stall"}


def _end(pair: tuple[socket.socket, socket.socket]) -> None:
    for end in pair:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
