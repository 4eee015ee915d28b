"""Merge operators: how they combine, and the stored name that keeps others from going on."""

import pytest

from conduitstore.errors import InvalidArgumentError

NAMES = "__merge_operators__"


def concatenate(key, old, operand):
    assert isinstance(key, bytes)
    return operand if old is None else old + b"," + operand


def delete(_key, _old, _operand):
    return None


def test_the_operator_combines(tree):
    tree.set_merge_operator(concatenate)
    assert tree.merge(b"a", b"1") == b"1"
    assert tree.merge(b"a", b"2") == b"1,2"
    assert tree.get(b"a") == b"1,2"


def test_the_operator_gets_the_key(tree):
    tree.set_merge_operator(lambda key, old, operand: key + (old or b"") + operand, name="all")
    tree.insert(b"k", b"1")
    assert tree.merge(b"k", b"2") == b"k12"


def test_a_merge_to_none_deletes(tree):
    tree.insert(b"a", b"1")
    tree.set_merge_operator(delete)
    assert tree.merge(b"a", b"x") is None
    assert tree.merge(b"absent", b"x") is None
    assert list(tree) == []


def test_merging_in_a_transaction(db, tree):
    tree.set_merge_operator(concatenate)
    tree.merge(b"a", b"1")

    def run(tx):
        inner = tx.open_tree("key_value")
        assert inner.merge(b"a", b"2") == b"1,2"
        return inner.merge(b"a", b"3")

    assert db.transaction(run) == b"1,2,3"
    assert tree.get(b"a") == b"1,2,3"


def test_an_operator_chosen_in_a_transaction(db, tree):
    def run(tx):
        inner = tx.open_tree("key_value")
        inner.set_merge_operator(concatenate)
        inner.merge(b"a", b"1")

    db.transaction(run)
    assert tree.merge(b"a", b"2") == b"1,2"


def test_merging_without_an_operator_is_refused(db, tree):
    sequence = db.sequence
    with pytest.raises(InvalidArgumentError):
        tree.merge(b"a", b"1")
    with pytest.raises(InvalidArgumentError):
        db.merge(b"a", b"1")
    assert db.sequence == sequence
    assert NAMES not in db.tree_names()


def test_an_operator_belongs_to_its_tree(db, tree):
    tree.set_merge_operator(concatenate)
    with pytest.raises(InvalidArgumentError):
        db.merge(b"a", b"1")
    assert db.open_tree("key_value").merge(b"a", b"1") == b"1", "any handle of the tree will do"


def test_the_name_is_stored_by_the_first_merge_in_its_commit(db, tree):
    tree.set_merge_operator(concatenate, name="mine")
    db.set_merge_operator(concatenate)
    assert NAMES not in db.tree_names()
    sequence = db.sequence
    tree.merge(b"a", b"1")
    assert db.sequence == sequence + 1
    assert NAMES in db.tree_names()
    assert list(db.open_tree(NAMES)) == [(b"key_value", b"mine")]
    db.merge(b"a", b"1")
    default_name = f"{concatenate.__module__}.{concatenate.__qualname__}".encode()
    assert db.open_tree(NAMES).get(b"__default__") == default_name


def test_another_name_than_the_stored_one_is_refused(tree):
    tree.set_merge_operator(concatenate, name="mine")
    tree.merge(b"a", b"1")
    tree.set_merge_operator(delete)
    with pytest.raises(InvalidArgumentError, match="mine"):
        tree.merge(b"a", b"2")
    assert tree.get(b"a") == b"1"
    tree.set_merge_operator(concatenate, name="mine")
    assert tree.merge(b"a", b"2") == b"1,2"


def test_the_name_outlives_the_content(tree):
    tree.set_merge_operator(concatenate, name="mine")
    tree.merge(b"a", b"1")
    tree.clear()
    tree.set_merge_operator(concatenate, name="other")
    with pytest.raises(InvalidArgumentError):
        tree.merge(b"a", b"1")


def test_the_name_outlives_the_store(harness):
    db = harness.open()
    tree = db.open_tree("key_value")
    tree.set_merge_operator(concatenate, name="mine")
    tree.merge(b"a", b"1")
    with harness.reopen(db) as db:
        tree = db.open_tree("key_value")
        tree.set_merge_operator(concatenate, name="other")
        with pytest.raises(InvalidArgumentError):
            tree.merge(b"a", b"2")
        tree.set_merge_operator(concatenate, name="mine")
        assert tree.merge(b"a", b"2") == b"1,2"


@pytest.mark.parametrize("inside", [False, True])
def test_a_failing_operator_leaves_nothing_not_even_its_name(db, tree, inside):
    def fail(_key, _old, _operand):
        raise ZeroDivisionError

    tree.insert(b"a", b"1")
    tree.set_merge_operator(fail)
    sequence = db.sequence

    def run(tx):
        with pytest.raises(ZeroDivisionError):
            tx.open_tree("key_value").merge(b"a", b"2")
        assert NAMES not in tx.tree_names()

    if inside:
        db.transaction(run)
    else:
        with pytest.raises(ZeroDivisionError):
            tree.merge(b"a", b"2")
    assert db.sequence == sequence
    assert NAMES not in db.tree_names()
    assert list(tree) == [(b"a", b"1")]


def test_an_operator_that_gives_nonsense_leaves_nothing(db, tree):
    tree.set_merge_operator(lambda _key, _old, _operand: "text", name="nonsense")
    with pytest.raises(InvalidArgumentError):
        tree.merge(b"a", b"1")
    assert list(tree) == []
    assert NAMES not in db.tree_names()


@pytest.mark.parametrize("operator", [None, "concatenate", 1])
def test_an_operator_must_be_callable(tree, operator):
    with pytest.raises(InvalidArgumentError):
        tree.set_merge_operator(operator)


@pytest.mark.parametrize("name", ["", 1, b"mine", "\ud800"])
def test_an_operators_name_must_be_text(tree, name):
    with pytest.raises(InvalidArgumentError):
        tree.set_merge_operator(concatenate, name=name)


def test_dropping_a_tree_forgets_its_operator_and_its_name(db, tree):
    tree.set_merge_operator(concatenate, name="mine")
    tree.merge(b"a", b"1")
    db.drop_tree("key_value")
    assert list(db.open_tree(NAMES)) == []
    tree = db.open_tree("key_value")
    with pytest.raises(InvalidArgumentError):
        tree.merge(b"a", b"1")
    tree.set_merge_operator(concatenate, name="other")
    assert tree.merge(b"a", b"1") == b"1"


def test_a_tree_that_never_had_an_operator_goes_beside_one_that_has(db, tree):
    tree.set_merge_operator(lambda _key, _old, operand: operand, "last")
    tree.merge(b"k", b"v")
    db.open_tree("plain").insert(b"a", b"1")
    before = tree_of_operators(db)
    assert db.drop_tree("plain")
    assert tree_of_operators(db) == before != []
    assert tree.merge(b"k", b"w") == b"w"


def tree_of_operators(db):
    return list(db.open_tree(NAMES))
