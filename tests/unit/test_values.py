"""Values to bytes and back, and what cannot be either."""

import pytest

from conduitstore.codec.values import (
    pack_canonical_json,
    pack_json,
    pack_json_object,
    pack_text,
    pack_u64,
    unpack_json,
    unpack_text,
    unpack_u64,
)
from conduitstore.errors import CorruptedError, InvalidArgumentError


def test_u64_is_big_endian():
    assert pack_u64(258) == bytes.fromhex("0000000000000102")
    assert unpack_u64("tree", pack_u64(258)) == 258


def test_json_keeps_its_order_and_canonical_json_does_not():
    value = {"b": 1, "a": "é☕", "c": [None, True, {"z": 0, "y": {}}]}
    assert pack_json(value) == '{"b":1,"a":"é☕","c":[null,true,{"z":0,"y":{}}]}'.encode()
    assert pack_canonical_json(value) == '{"a":"é☕","b":1,"c":[null,true,{"y":{},"z":0}]}'.encode()
    assert unpack_json("tree", pack_json(value)) == value


def deep(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("value", ["\ud800", float("nan"), float("inf"), {1, 2}, deep(100_000)])
@pytest.mark.parametrize("pack", [pack_json, pack_canonical_json])
def test_what_cannot_be_json(pack, value):
    with pytest.raises(InvalidArgumentError):
        pack({"value": value})


@pytest.mark.parametrize("value", [None, [], "text", 1])
def test_an_object_is_an_object(value):
    with pytest.raises(InvalidArgumentError, match="object"):
        pack_json_object(value)


@pytest.mark.parametrize("text", ["\ud800", b"bytes", None])
def test_what_is_not_text(text):
    with pytest.raises(InvalidArgumentError):
        pack_text(text)


@pytest.mark.parametrize(
    ("unpack", "value"),
    [
        (unpack_u64, bytes(7)),
        (unpack_u64, b""),
        (unpack_text, b"\xff"),
        (unpack_json, b"{"),
        (unpack_json, b"\xff"),
        (unpack_json, b"[" * 100_000),
    ],
)
def test_damage_names_its_tree(unpack, value):
    with pytest.raises(CorruptedError, match="sometree"):
        unpack("sometree", value)
