"""Room states: one number for each, few layers, and nothing that a crash could leave half done."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

import conduitstore
from conduitstore import CorruptedError, InvalidArgumentError
from conduitstore.codec.state_layers import LAYERS_MAX
from conduitstore.codec.states import pack_entry, unpack_entries

NAME = ("m.room.name", "")


def member(number):
    return ("m.room.member", f"@{number}:x")


def members(total):
    return {member(n): f"$join{n}" for n in range(total)}


@pytest.fixture
def states(store):
    return store.rooms.state_compressor


def named(store, state):
    """A state as (type, state key) to event id, by way of the entries."""
    pairs = unpack_entries(store.rooms.state_compressor.entries(state))
    keys = store.rooms.short.state_key_id_many([key for key, _ in pairs])
    return dict(zip(keys, store.rooms.short.event_id_many([e for _, e in pairs]), strict=True))


def depth(states, state):
    layers = 1
    while (diff := states.diff(state)).parent is not None:
        state = diff.parent
        layers += 1
    return layers


def test_a_state_is_kept_whole(store, states):
    state = states.save(members(5))
    assert named(store, state) == members(5)
    assert states.diff(state).parent is None
    assert states.exists(state)
    assert not states.exists(state + 1)
    assert states.diff(state + 1) is None


def test_a_state_near_another_is_kept_as_the_difference(store, states):
    old = states.save(members(50))
    changed = members(50) | {member(7): "$left7", NAME: "$name"}
    new = states.save(changed, near=old)
    diff = states.diff(new)
    assert (diff.parent, len(diff.added), len(diff.removed)) == (old, 2, 1)
    assert named(store, new) == changed
    assert named(store, old) == members(50)


def test_the_bytes_are_conduits(store, states):
    """The catalogue's vector: parent, added, a zero word, removed."""
    tree = store.db.open_tree("shortstatehash_statediff")
    for n in range(3, 60):
        store.db.open_tree("shortstatekey_statekey").insert(n.to_bytes(8), b"t\xff%d" % n)
        store.db.open_tree("shorteventid_eventid").insert(n.to_bytes(8), b"$%d" % n)
    entries = [pack_entry(3, 10), pack_entry(4, 12)]
    old = states.save_entries([*entries, *(pack_entry(n, n) for n in range(20, 60))])
    new = states.save_entries(
        [pack_entry(3, 11), entries[1], *(pack_entry(n, n) for n in range(20, 60))], near=old
    )
    parent = old.to_bytes(8).hex()
    assert tree.get(new.to_bytes(8)) == bytes.fromhex(
        f"{parent} 0000000000000003 000000000000000b 0000000000000000"
        "0000000000000003 000000000000000a"
    )
    assert tree.get(old.to_bytes(8))[:8] == bytes(8)


def test_defect_09_equal_states_have_one_number(store, states):
    forwards = states.save(members(40))
    backwards = states.save(dict(reversed(members(40).items())))
    there = states.change(forwards, {member(3): "$left", NAME: "$name"})
    assert backwards == forwards
    assert states.change(there, {member(3): "$join3", NAME: None}) == forwards
    assert states.number_of(states.entries(forwards)) == forwards
    assert len(store.db.open_tree("statehash_shortstatehash")) == 2


def test_defect_11_a_hash_never_names_a_state_that_is_not_there(store, rows, monkeypatch):
    """Wherever the commit dies, the next attempt finds nothing or all of it."""
    kind = store.db.transaction(type)
    write, before = kind.write, rows()
    for allowed in range(100):
        left = [allowed]

        def fail_late(tx, *args, left=left):
            if not left[0]:
                raise ZeroDivisionError
            left[0] -= 1
            return write(tx, *args)

        with monkeypatch.context() as patch:
            patch.setattr(kind, "write", fail_late)
            try:
                state = store.rooms.state_compressor.save(members(3))
            except ZeroDivisionError:
                assert rows() == before
            else:
                break
    assert allowed > 10
    assert named(store, state) == members(3)


def test_looking_up_and_comparing(store, states):
    old = states.save(members(50))
    new = states.change(old, {member(7): None, member(8): "$left8", NAME: "$name"})
    short = store.rooms.short
    keys = short.state_key_many([member(6), member(7), member(8), NAME])
    assert short.event_id_many([e for e in states.lookup_many(new, keys) if e is not None]) == [
        "$join6",
        "$left8",
        "$name",
    ]
    assert states.lookup_many(new, [keys[1], 10**9]) == [None, None]
    difference = states.between(old, new)
    assert sorted(difference.added) == sorted(set(states.entries(new)) - set(states.entries(old)))
    assert sorted(difference.removed) == sorted(set(states.entries(old)) - set(states.entries(new)))


def test_states_that_are_not_there(states):
    for call in (
        lambda: states.entries(5),
        lambda: states.between(states.save({}), 5),
        lambda: states.change(5, {}),
        lambda: states.save({}, near=5),
        lambda: states.lookup_many(5, [1]),
    ):
        with pytest.raises(InvalidArgumentError, match="no room state 5"):
            call()


@pytest.mark.parametrize(
    "entries",
    [
        [b"x" * 15],
        [bytes(16)],
        ["x" * 16],
        [pack_entry(1, 2), pack_entry(1, 3)],
        [None, b""],
        None,
        [pack_entry(1, 2)],
    ],
)
def test_what_is_no_state(states, rows, entries):
    before = rows()
    with pytest.raises(InvalidArgumentError):
        states.save_entries(entries)
    assert rows() == before


def test_damage_is_told(store, states):
    tree = store.db.open_tree("shortstatehash_statediff")
    old = states.save(members(50))
    new = states.change(old, {member(7): "$left", NAME: "$name"})
    good = tree.get(new.to_bytes(8))
    unmarked = good.replace(bytes(8), bytes([1] * 8))
    for bad in (b"", good[:7], good[:-1], unmarked, new.to_bytes(8) + good[8:]):
        tree.insert(new.to_bytes(8), bad)
        with pytest.raises(CorruptedError, match="shortstatehash_statediff"):
            states.entries(new)
    tree.insert(new.to_bytes(8), good)
    tree.remove(old.to_bytes(8))
    with pytest.raises(CorruptedError, match="missing"):
        states.entries(new)


def test_racing_threads_save_one_state_once(store):
    start, found = threading.Barrier(4), []

    def race():
        start.wait()
        found.extend(store.rooms.state_compressor.save(members(n)) for n in range(10))

    threads = [threading.Thread(target=race) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 40
    assert len(set(found)) == 10
    assert len(store.db.open_tree("shortstatehash_statediff")) == 10


def test_a_long_history_stays_shallow_and_small(states):
    total = 300
    state = states.save(members(total))
    entries_stored = 0
    for n in range(600):
        state = states.change(state, {member(n * 7 % total): f"$new{n}"})
        diff = states.diff(state)
        entries_stored += len(diff.added) + len(diff.removed)
        assert depth(states, state) <= LAYERS_MAX
    assert entries_stored / 600 < 6 * total ** (1 / 4)


KEYS = [NAME, *(member(n) for n in range(6))]
CHANGES = st.dictionaries(
    st.sampled_from(KEYS), st.sampled_from([None, "$a", "$b", "$c"]), max_size=4
)


@given(st.lists(st.tuples(st.integers(0, 10), CHANGES, st.booleans()), max_size=25))
def test_states_are_what_a_dictionary_says(steps):
    """Each step changes any earlier state, so histories fork; a few meet again."""
    with conduitstore.open(":memory:") as store:
        states = store.rooms.state_compressor
        made = [(states.save({}), {})]
        for parent, changes, is_whole in steps:
            state, model = made[parent % len(made)]
            expected = {k: e for k, e in (model | changes).items() if e is not None}
            new = states.save(expected, near=state) if is_whole else states.change(state, changes)
            made.append((new, expected))
        for state, expected in made:
            assert named(store, state) == expected
            assert depth(states, state) <= LAYERS_MAX
        (old, _), (new, _) = made[len(made) // 2], made[-1]
        difference = states.between(old, new)
        assert difference.added == set(states.entries(new)) - set(states.entries(old))
        assert difference.removed == set(states.entries(old)) - set(states.entries(new))
        numbers = {tuple(sorted(model.items())): state for state, model in made}
        assert len(set(numbers.values())) == len(numbers) == len({s for s, _ in made})
