"""Keys byte for byte, and that they sort as their values do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduitstore.codec.keys import FOLDED, U64_MAX, KeyShape, fold
from conduitstore.codec.positions import (
    FIRST,
    LAST,
    PDU_ID,
    keys_after,
    keys_before,
    parse_token,
    token_of,
)
from conduitstore.errors import CorruptedError, InvalidArgumentError
from conduitstore.schema import TREES

TO_DEVICE = TREES["todeviceid_events"].key
ACCOUNT_DATA = TREES["roomuserdataid_accountdata"].key
RECEIPT = TREES["readreceiptid_readreceipt"].key
STATE_KEY = TREES["statekey_shortstatekey"].key
SEARCH = KeyShape("tokenids", "short_room:u64 word ff short_room2:u64 position:position")
ROOM_COUNT = KeyShape("test", "room ff count:u64")
DIFF_ENTRY = KeyShape("test", "short_state_key:u64 short_event:u64")

VECTORS = [
    (PDU_ID, (5, 42), "00 00 00 00 00 00 00 05 00 00 00 00 00 00 00 2a"),
    (
        PDU_ID,
        (5, -7),
        "00 00 00 00 00 00 00 05 00 00 00 00 00 00 00 00 ff ff ff ff ff ff ff f8",
    ),
    (
        TO_DEVICE,
        ("@a:x", "DEV", 42),
        "40 61 3a 78 ff 44 45 56 ff 00 00 00 00 00 00 00 2a",
    ),
    (
        ACCOUNT_DATA,
        ("!r:x", "@a:x", 42, "m.tag"),
        "21 72 3a 78 ff 40 61 3a 78 ff 00 00 00 00 00 00 00 2a ff 6d 2e 74 61 67",
    ),
    (
        ACCOUNT_DATA,
        ("", "@a:x", 42, "m.direct"),
        "ff 40 61 3a 78 ff 00 00 00 00 00 00 00 2a ff 6d 2e 64 69 72 65 63 74",
    ),
    (
        SEARCH,
        (5, "hi", 5, 42),
        "00 00 00 00 00 00 00 05 68 69 ff 00 00 00 00 00 00 00 05 00 00 00 00 00 00 00 2a",
    ),
    (ROOM_COUNT, ("!r:x", 255), "21 72 3a 78 ff 00 00 00 00 00 00 00 ff"),
    (DIFF_ENTRY, (3, 11), "00 00 00 00 00 00 00 03 00 00 00 00 00 00 00 0b"),
    (RECEIPT, ("!r:x", 0xFF00FF, "@a:x"), "21 72 3a 78 ff 0000000000ff00ff ff 40 61 3a 78"),
    (STATE_KEY, ("m.room.name", ""), "6d 2e 72 6f 6f 6d 2e 6e 61 6d 65 ff"),
]


@pytest.mark.parametrize(("shape", "values", "expected"), VECTORS)
def test_the_byte_vectors(shape, values, expected):
    key = bytes.fromhex(expected)
    assert shape.pack(*values) == key
    assert shape.unpack(key) == values


def test_a_prefix_ends_with_its_separator():
    assert TO_DEVICE.prefix("@a:x") == b"@a:x\xff"
    assert TO_DEVICE.prefix("@a:x", "D") == b"@a:x\xffD\xff"
    assert TO_DEVICE.prefix("@a:x", "D", 1) == TO_DEVICE.pack("@a:x", "D", 1)
    assert RECEIPT.prefix("!r:x", 1) == b"!r:x\xff" + (1).to_bytes(8) + b"\xff"
    assert PDU_ID.prefix(5) == (5).to_bytes(8)
    assert not TO_DEVICE.pack("@bob:example.com", "D", 1).startswith(
        TO_DEVICE.prefix("@bob:example.co")
    )


def test_counts_are_a_half_open_range_after_since():
    lo, hi = TO_DEVICE.counts("@a:x", "D", since=4, upto=9)
    inside = [n for n in range(12) if lo <= TO_DEVICE.pack("@a:x", "D", n) < hi]
    assert inside == [5, 6, 7, 8, 9]
    lo, hi = RECEIPT.counts("!r:x", since=4, upto=9)
    inside = [n for n in range(12) if lo <= RECEIPT.pack("!r:x", n, "@a:x") < hi]
    assert inside == [5, 6, 7, 8, 9]
    lo, hi = RECEIPT.counts("!r:x", since=9, upto=4)
    assert lo >= hi
    lo, hi = RECEIPT.counts("!r:x", since=0, upto=U64_MAX)
    assert lo <= RECEIPT.pack("!r:x", 1 << 63, "@a:x") < hi


@pytest.mark.parametrize(
    "values",
    [
        ("@a:\ud800", "D", 1),
        (b"@a:x", "D", 1),
        (None, "D", 1),
        ("", "D", 1),
        ("@" + "a" * 255, "D", 1),
        ("@" + "ä" * 128, "D", 1),
        ("@a:x", "\ud800", 1),
        ("@a:x", 7, 1),
        ("@a:x", "D", -1),
        ("@a:x", "D", 1 << 64),
        ("@a:x", "D", 1.0),
        ("@a:x", "D", "1"),
    ],
)
def test_bad_values_are_refused(values):
    with pytest.raises(InvalidArgumentError):
        TO_DEVICE.pack(*values)
    with pytest.raises(InvalidArgumentError):
        TO_DEVICE.counts(*values[:2], since=values[2], upto=2)


@pytest.mark.parametrize("position", [1 << 64, -(1 << 64), 1.5, "1", None])
def test_bad_positions_are_refused(position):
    with pytest.raises(InvalidArgumentError):
        PDU_ID.pack(5, position)


@pytest.mark.parametrize(
    ("shape", "key"),
    [
        (TO_DEVICE, b"@a:x\xffD\xff1234567"),
        (TO_DEVICE, b"@a:x\xffD\xff123456789"),
        (TO_DEVICE, b"@a:x\xff" + bytes(8)),
        (TO_DEVICE, b"\xffD\xff" + bytes(8)),
        (TO_DEVICE, b"@\xc0:x\xffD\xff" + bytes(8)),
        (RECEIPT, b"!r:x\xff" + bytes(8) + b"@a:x"),
        (PDU_ID, bytes(8)),
        (PDU_ID, bytes(8) + b"\1" * 16),
        (STATE_KEY, b"m.room.name"),
        (STATE_KEY, b"m.room.name\xff\xff"),
    ],
)
def test_a_key_of_another_shape_is_damage_with_a_name(shape, key):
    with pytest.raises(CorruptedError) as caught:
        shape.unpack(key)
    assert caught.value.file == shape.tree
    assert caught.value.offset == 0


def test_long_client_text_is_folded_without_collisions():
    long, other = "x" * 256, "y" * 256
    assert fold("x" * 255) == "x" * 255
    assert fold(long).startswith(FOLDED)
    assert len({fold(long), fold(other), fold(fold(long))}) == 3
    assert TO_DEVICE.unpack(TO_DEVICE.pack("@a:x", long, 1)) == ("@a:x", fold(long), 1)


def test_a_shape_takes_only_field_names():
    with pytest.raises(ValueError, match="field name"):
        KeyShape("test", "user ff __import__('os')")


def test_position_tokens():
    assert token_of(42) == "42"
    assert token_of(-42) == "-42"
    assert parse_token("42") == 42
    assert parse_token("-42") == -42
    assert parse_token(token_of(FIRST)) == FIRST
    assert parse_token(token_of(LAST)) == LAST


@pytest.mark.parametrize("text", ["", "-", "+1", " 1", "1_0", "1.0", "x", "٣", str(1 << 64), 5])
def test_text_that_is_no_token(text):
    with pytest.raises(InvalidArgumentError):
        parse_token(text)


def ids():
    return st.text(st.characters(codec="utf-8"), min_size=1, max_size=30)


def u64s():
    return st.integers(0, 300) | st.integers(0, U64_MAX)


def positions():
    return st.integers(-300, 300) | st.integers(FIRST, LAST)


@given(ids(), st.text(st.characters(codec="utf-8"), max_size=300), u64s())
def test_to_device_keys_round_trip(user, device, count):
    assert TO_DEVICE.unpack(TO_DEVICE.pack(user, device, count)) == (user, fold(device), count)


@given(st.text(max_size=30).filter(lambda text: text.isascii()), ids(), u64s(), ids())
def test_account_data_keys_round_trip(room, user, count, type):
    values = (room, user, count, fold(type))
    assert ACCOUNT_DATA.unpack(ACCOUNT_DATA.pack(room, user, count, type)) == values


@given(u64s(), positions())
def test_pdu_ids_round_trip(short_room, position):
    assert PDU_ID.unpack(PDU_ID.pack(short_room, position)) == (short_room, position)


@given(st.tuples(ids(), u64s(), ids()), st.tuples(ids(), u64s(), ids()))
def test_keys_sort_by_their_counts(one, other):
    one, other = (one[0], *one[1:]), (one[0], *other[1:])
    assert (RECEIPT.pack(*one) < RECEIPT.pack(*other)) == (
        (one[1], one[2].encode()) < (other[1], other[2].encode())
    )


@given(positions().filter(bool), positions().filter(bool))
def test_pdu_ids_sort_by_position(one, other):
    assert (PDU_ID.pack(5, one) < PDU_ID.pack(5, other)) == (one < other)


@given(positions(), positions().filter(bool))
def test_walking_excludes_the_start_and_nothing_else(start, event):
    key = PDU_ID.pack(5, event)
    lo, hi = keys_before(5, start)
    assert (lo <= key < hi) == (event < start)
    lo, hi = keys_after(5, start)
    assert (lo <= key < hi) == (event > start)


@pytest.mark.parametrize("start", [FIRST, -1, 0, 1, LAST])
def test_walking_never_leaves_the_room(start):
    for neighbour in (4, 6):
        for event in (FIRST, -1, 1, LAST):
            key = PDU_ID.pack(neighbour, event)
            lo, hi = keys_before(5, start)
            assert not lo <= key < hi
            lo, hi = keys_after(5, start)
            assert not lo <= key < hi
