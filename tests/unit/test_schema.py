"""One list of trees: complete, decodable, and obeyed by the parts."""

import importlib
import pkgutil
from operator import attrgetter

import pytest

import conduitstore.parts
from conduitstore import schema
from conduitstore.changes import WATCHED
from conduitstore.errors import CorruptedError, InvalidArgumentError
from conduitstore.parts.part import Part, TreeOf
from conduitstore.upkeep import GcOptions
from conduitstore.upkeep.dead import rules


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


# What empties trees, and is no operation of a part.
WHOLE = {"gc", "delete_room"}


def test_every_tree_is_emptied_by_an_operation_that_is_there_or_says_why_not():
    with conduitstore.open(":memory:") as store:
        for tree in schema.TREES.values():
            assert tree.emptied_by or len(tree.gone) > len("never: it is"), tree.name
            for name in tree.emptied_by:
                if name not in WHOLE:
                    assert callable(attrgetter(name)(store)), f"{tree.name}: {name}"


def test_what_gc_collects_says_so():
    with conduitstore.open(":memory:") as store, store.snapshot() as view:
        collected = {"shortstatehash_statediff", "statehash_shortstatehash", "filehash_removal"}
        for rule in rules(view.keyspace, GcOptions(), 0):
            collected |= {rule.tree, *rule.takes}
    assert collected == {name for name, t in schema.TREES.items() if "gc" in t.emptied_by}


def test_trees_by_device_go_with_the_device_and_trees_by_room_with_the_room():
    for tree in schema.TREES.values():
        fields = {*tree.key.fields, *(tree.value_shape.fields if tree.value_shape else ())}
        assert "device" not in fields or "devices.remove" in tree.emptied_by, tree.name
        assert not tree.room_scoped or "delete_room" in tree.emptied_by, tree.name


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
