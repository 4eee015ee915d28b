"""One list of trees: complete, decodable, and obeyed by the parts."""

import importlib
import pkgutil

import pytest

import conduitstore.parts
from conduitstore import schema
from conduitstore.changes import WATCHED
from conduitstore.errors import CorruptedError, InvalidArgumentError
from conduitstore.parts.part import Part, TreeOf


def part_classes():
    package = conduitstore.parts
    modules = [
        importlib.import_module(module.name)
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
    ]
    classes = {c for module in modules for c in vars(module).values() if isinstance(c, type)}
    return [c for c in classes if issubclass(c, Part) and c is not Part]


def test_each_tree_is_opened_by_its_owner_and_nobody_else():
    opened = [
        (field.name, part.__module__.rpartition(".")[2])
        for part in part_classes()
        for field in vars(part).values()
        if isinstance(field, TreeOf)
    ]
    assert sorted(opened) == sorted((tree.name, tree.owner) for tree in schema.TREES.values())


def test_no_name_has_two_meanings():
    assert not schema.TREES.keys() & schema.RETIRED.keys()
    assert schema.TREES.keys() >= WATCHED.keys()


def test_every_tree_says_what_it_is():
    for tree in schema.TREES.values():
        assert tree.key.tree == tree.name
        assert tree.meaning
        assert (tree.value_shape is None) == (tree.value in schema.VALUE_KINDS)


def test_room_scope_follows_the_key():
    scoped = {name for name, tree in schema.TREES.items() if tree.room_scoped}
    assert {"pduid_pdu", "roomserverids", "readreceiptid_readreceipt"} <= scoped
    assert not {"userid_password", "todeviceid_events", "eventid_pduid", "global"} & scoped


def test_rows_are_decoded_for_display():
    key = bytes.fromhex("0000000000000005 0000000000000000 fffffffffffffff8")
    assert schema.decode_key("pduid_pdu", key) == {"short_room": 5, "position": -7}
    assert schema.decode_value("eventid_pduid", key) == {"short_room": 5, "position": -7}
    assert schema.decode_value("pduid_pdu", b'{"a":1}') == {"a": 1}
    assert schema.decode_value("roomid_joinedcount", (3).to_bytes(8)) == 3
    assert schema.decode_value("userid_displayname", "é".encode()) == "é"
    assert schema.decode_value("roomserverids", b"") == ""
    assert schema.decode_value("global", (3).to_bytes(8)) == 3
    assert schema.decode_value("global", b"conduitstore") == "conduitstore"


def test_damage_and_unknown_trees_are_told_apart():
    with pytest.raises(CorruptedError, match="roomserverids"):
        schema.decode_value("roomserverids", b"x")
    with pytest.raises(CorruptedError, match="pduid_pdu"):
        schema.decode_key("pduid_pdu", b"x")
    with pytest.raises(InvalidArgumentError, match="never heard of"):
        schema.decode_key("nosuchtree", b"x")
    with pytest.raises(InvalidArgumentError, match="grew with every sync"):
        schema.tree_schema("roomsynctoken_shortstatehash")
