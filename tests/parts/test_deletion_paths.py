"""Every tree has something that empties it, and what never is emptied has a bound."""

import pytest

from conduitstore.schema import RETIRED, TREES
from conduitstore.upkeep import GcOptions

A, B, ROOM = "@a:one.test", "@b:one.test", "!r:one.test"

# One row for each account, server, or pair of type and state key; and a handful for the store.
BOUNDED = {
    "global",
    "server_signingkeys",
    "servername_educount",
    "userid_password",
    "userid_origin",
    "userid_devicelistversion",
    "userid_masterkeyid",
    "userid_selfsigningkeyid",
    "userid_usersigningkeyid",
    "userid_lastonetimekeyupdate",
    "statekey_shortstatekey",
    "shortstatekey_statekey",
}


def test_defect_19_what_is_never_removed_has_a_bound():
    never = {name for name, tree in TREES.items() if tree.gone.startswith("never")}
    assert never <= BOUNDED
    assert all(len(TREES[name].gone) > len("never: ") for name in never)
    assert "roomsynctoken_shortstatehash" in RETIRED  # The one that grew with every sync.


@pytest.fixture
def lived(store, message):
    """A store in which all that Conduit never removes was written."""
    store.users.create(A, "hash")
    store.devices.create(A, "D", "token")
    store.rooms.append(message(0, type="m.room.create", state_key=""), "$0", ROOM)
    store.rooms.append(message(1, auth_events=["$0"]), "$1", ROOM)
    create = message(2, prev_events=["$1"], type="m.room.name", state_key="")
    store.rooms.append(create, "$2", ROOM)
    store.rooms.state_compressor.save({("t", str(n)): "$0" for n in range(50)})
    store.rooms.auth_chain.remember("$1")
    store.rooms.pdu_metadata.mark_soft_failed("$soft")
    store.rooms.lazy_loading.witness(A, "D", ROOM, [A, B], since=0, token=5)
    store.tokens.create_openid(A, 0)
    store.transaction_ids.record(A, "D", "t", "$1", 1_000)
    store.uiaa.update_session(A, "D", "s", {}, 0)
    store.filters.create(A, {})
    return store


EMPTIED = {
    "openidtoken_expiresatuserid": lambda s: s.tokens.forget_expired(),
    "userdevicetxnid_response": lambda s: s.transaction_ids.forget_before(2_000),
    "userdevicesessionid_uiaainfo": lambda s: s.uiaa.forget_expired(1 << 40),
    "userfilterid_filter": lambda s: s.users.deactivate(A),
    "lazyloadedids": lambda s: s.rooms.lazy_loading.reset(A, "D", ROOM),
    "shorteventid_authchain": lambda s: s.rooms.auth_chain.trim(0),
    "tokenids": lambda s: s.rooms.timeline.remove("$1"),
    "softfailedeventids": lambda s: s.rooms.pdu_metadata.clear_soft_failed("$soft"),
}


@pytest.mark.parametrize("tree", EMPTIED)
def test_defect_19_a_row_goes_again(lived, tree):
    assert len(lived.db.open_tree(tree)) > 0
    EMPTIED[tree](lived)
    assert list(lived.db.open_tree(tree)) == []


def test_defect_19_states_that_nothing_names_go(lived):
    states = lived.rooms.state_compressor
    named = lived.rooms.state.current(ROOM)
    before = len(lived.db.open_tree("shortstatehash_statediff"))
    lived.gc(GcOptions(young_counts=0))
    assert len(lived.db.open_tree("shortstatehash_statediff")) < before
    assert states.exists(named)
    assert lived.rooms.state_accessor.room_full(ROOM)
