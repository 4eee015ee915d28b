"""The proxy that stands for a network: it passes everything, until it is told otherwise."""

import socket
import threading
from contextlib import contextmanager, suppress

import pytest
from patience import eventually

from conduitstore.testing.proxy import HOST, Proxy

PATIENCE_SECONDS = 60


@contextmanager
def echo():
    """A server that sends back what it gets; gives its port and what it got."""
    got = []

    def serve(connection):
        with suppress(OSError), connection:
            while piece := connection.recv(65_536):
                got.append(piece)
                connection.sendall(piece)

    def listen():
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server((HOST, 0)) as listener:
        threading.Thread(target=listen, daemon=True).start()
        yield listener.getsockname()[1], got
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def through():
    with echo() as (port, got), Proxy(port) as proxy:
        yield proxy, got


def connected(proxy):
    connection = socket.create_connection((HOST, proxy.port), PATIENCE_SECONDS)
    connection.sendall(b"hello")
    assert connection.recv(5) == b"hello"
    return connection


def is_cut(connection):
    try:
        return connection.recv(100) == b""
    except ConnectionError:
        return True


def test_everything_passes(through):
    proxy, _ = through
    data = bytes(range(256)) * 4_000
    with connected(proxy) as one, connected(proxy) as other:
        threading.Thread(target=one.sendall, args=(data,)).start()
        came = b""
        while len(came) < len(data):
            came += one.recv(65_536)
        assert came == data
        other.sendall(b"more")
        assert other.recv(4) == b"more"
    assert proxy.connections_total == 2


def test_a_cut_ends_every_connection_and_new_ones_get_in(through):
    proxy, _ = through
    with connected(proxy) as one, connected(proxy) as other:
        assert proxy.cut() == 2
        assert is_cut(one)
        assert is_cut(other)
    connected(proxy).close()


def test_what_is_stalled_goes_on_later(through):
    proxy, _ = through
    with connected(proxy) as connection:
        proxy.stall()
        connection.sendall(b"later")
        connection.settimeout(0.05)
        with pytest.raises(TimeoutError):
            connection.recv(5)
        proxy.resume()
        connection.settimeout(PATIENCE_SECONDS)
        assert connection.recv(5) == b"later"


def test_a_stalled_connection_can_be_cut(through):
    proxy, got = through
    with connected(proxy) as connection:
        proxy.stall()
        connection.sendall(b"never")
        proxy.cut()
        assert is_cut(connection)
        proxy.resume()
    connected(proxy).close()
    assert b"never" not in got


def test_refusing_leaves_those_who_are_in(through):
    proxy, _ = through
    with connected(proxy) as connection:
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HOST, proxy.port))
        connection.sendall(b"still")
        assert connection.recv(5) == b"still"
        proxy.accept()
        connected(proxy).close()


@pytest.mark.parametrize(("judgement", "arrives"), [("drop", False), ("last", True)])
def test_an_answer_can_be_lost_before_or_after_it_is_asked_for(through, judgement, arrives):
    proxy, got = through
    with connected(proxy) as connection:
        proxy.judge = lambda piece, from_client: (
            judgement if from_client and b"COMMIT" in piece else "pass"
        )
        connection.sendall(b"BEGIN")
        assert connection.recv(5) == b"BEGIN"
        connection.sendall(b"COMMIT")
        connection.recv(100)
        assert is_cut(connection)
    if arrives:
        eventually(lambda: b"COMMIT" in got)
    else:
        assert b"COMMIT" not in got


def test_an_answer_can_stall(through):
    proxy, _ = through
    with connected(proxy) as connection:
        proxy.judge = lambda _, from_client: "pass" if from_client else "stall"
        connection.sendall(b"asked")
        connection.settimeout(0.05)
        with pytest.raises(TimeoutError):
            connection.recv(5)
        proxy.resume()
        connection.settimeout(PATIENCE_SECONDS)
        assert connection.recv(5) == b"asked"


def test_a_server_that_is_down_looks_as_if_it_were_asked_itself():
    with socket.socket() as nobody_listens:  # And nobody else gets this port meanwhile.
        nobody_listens.bind((HOST, 0))
        with (
            Proxy(nobody_listens.getsockname()[1]) as proxy,
            socket.create_connection((HOST, proxy.port)) as connection,
        ):
            assert is_cut(connection)
