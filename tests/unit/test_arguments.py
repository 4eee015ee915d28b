"""What counts as an argument of the declared type, and who is blamed for an error of Python's."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import pytest

import conduitstore
from conduitstore import InvalidArgumentError
from conduitstore.parts.arguments import blame_argument, distinct, fits, listed
from conduitstore.parts.media.records import Dimensions, Selection
from conduitstore.types import Count, FederationServer, JsonObject, Mxc, PduId, PlacedEvent, UserId

EVENT = {"type": "t", "room_id": "!r:x", "sender": "@a:x", "content": {}, "origin_server_ts": 1}


@pytest.mark.parametrize(
    ("hint", "good", "bad"),
    [
        (UserId, "@a:x", 5),
        (Count, 5, True),
        (Count, 1 << 70, "5"),
        (str | None, None, b""),
        (Literal["b", "f"], "b", "x"),
        (Literal["b", "f"], "f", ["b"]),
        (tuple[str, int], ("a", 1), ("a", "b")),
        (tuple[str, int], ("a", 1), ("a", 1, 1)),
        (Iterable[UserId], ["@a:x"], "@a:x"),
        (Iterable[UserId], {"@a:x": 1}, [None]),
        (Sequence[tuple[str, str]], [("a", "b")], [("a",)]),
        (Mapping[UserId, Mapping[str, int]], {"@a:x": {"b": 1}}, {"@a:x": {"b": "c"}}),
        (Mapping[UserId, int], {}, []),
        (JsonObject, {"a": object()}, []),
        (Callable[[UserId], bool], bool, 5),
        (Any, object(), ...),
        (Mxc, Mxc("x", "y"), Mxc("x", 5)),
        (Mxc, Mxc("x", "y"), ("x", "y")),
        (Dimensions, Dimensions(1, 2), Dimensions(1, None)),
        (FederationServer, FederationServer("x"), FederationServer(None)),
        (Selection, Selection(), Selection(bytes_min="5")),
        (
            PlacedEvent,
            PlacedEvent("!r:x", PduId(1, 2), "$1", EVENT),
            PlacedEvent("!r:x", PduId(1, 2), "$1", {}),
        ),
    ],
)
def test_what_fits(hint, good, bad):
    assert fits(hint, good)
    assert bad is ... or not fits(hint, bad)


def test_what_can_be_walked_through_once_is_not_walked_through():
    numbers = iter(["a", "b"])
    assert fits(Iterable[int], numbers)
    assert list(numbers) == ["a", "b"]


def operation(part: object, user: UserId, *, limit: int | None = None) -> None:
    raise NotImplementedError


def test_the_first_that_does_not_fit_is_named():
    with pytest.raises(InvalidArgumentError, match="operation: user must be UserId, not 5"):
        blame_argument(operation, None, 5, limit="x")
    with pytest.raises(InvalidArgumentError, match=r"limit must be int \| None, not"):
        blame_argument(operation, None, "@a:x", limit="x")


def test_nobody_is_blamed_for_a_fault_of_ours():
    blame_argument(operation, None, "@a:x", limit=5)
    blame_argument(operation, None)  # Too few: Python has said so.
    blame_argument(operation, None, "@a:x", limits=5)


def test_an_error_of_a_function_that_was_given_is_the_one_to_see():
    store = conduitstore.open(":memory:")
    store.rooms.members.mark_joined("@a:x", "!r:x")
    with pytest.raises(ZeroDivisionError):
        store.rooms.sharing.appservice_in_room("!r:x", "@bot:x", lambda _: 1 / 0)
    with pytest.raises(InvalidArgumentError, match="owns must be"):
        store.rooms.sharing.appservice_in_room("!r:x", "@bot:x", None)


@pytest.mark.parametrize("bad", ["text", b"bytes", None, 5, object()])
def test_what_is_no_list(bad):
    with pytest.raises(InvalidArgumentError, match="a list of things"):
        listed(bad, "things")


def test_each_once_in_order():
    assert distinct(["b", "a", "b"], "letters") == ["b", "a"]
    with pytest.raises(InvalidArgumentError, match="letters are ids"):
        distinct([[]], "letters")
