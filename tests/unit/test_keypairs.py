"""The server's key, as Conduit stores it and as Synapse writes it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduitstore.codec.keypairs import Keypair, pack_keypair, unpack_keypair
from conduitstore.errors import CorruptedError, InvalidArgumentError
from conduitstore.schema import decode_value

SEED = bytes(range(224, 256))  # 0xFF among it.
PUBLIC = b"\xff" * 32
BARE = bytes.fromhex("302e020100300506032b657004220420") + SEED
OF_RFC_8410 = bytes.fromhex("3051020101300506032b657004220420") + SEED + b"\x81\x21\0" + PUBLIC
OF_RING = bytes.fromhex("3053020101300506032b657004220420") + SEED + b"\xa1\x23\3\x21\0" + PUBLIC


@pytest.mark.parametrize("der", [BARE, OF_RFC_8410, OF_RING])
def test_each_form_of_the_key_is_read_and_kept_byte_for_byte(der):
    keypair = Keypair("a1B2_c3D", der)
    assert keypair.seed == SEED
    assert pack_keypair(keypair) == b"a1B2_c3D\xff" + der
    assert unpack_keypair(pack_keypair(keypair)) == keypair


@given(st.from_regex(r"[A-Za-z0-9_]{1,30}", fullmatch=True), st.binary(min_size=32, max_size=32))
def test_text_round_trips(version, seed):
    keypair = Keypair.from_seed(version, seed)
    assert keypair.seed == seed
    assert Keypair.from_text(keypair.to_text()) == keypair
    assert unpack_keypair(pack_keypair(keypair)) == keypair


def test_a_line_of_a_key_file_is_synapses():
    line = "ed25519 a_abcd " + "A" * 43 + "\n"
    assert Keypair.from_text(line) == Keypair.from_seed("a_abcd", bytes(32))
    assert Keypair.from_seed("a_abcd", bytes(32)).to_text() == line.strip()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Keypair("", BARE),
        lambda: Keypair("a:b", BARE),
        lambda: Keypair("é", BARE),
        lambda: Keypair(5, BARE),
        lambda: Keypair("a", BARE[:-1]),
        lambda: Keypair("a", BARE + b"\0"),
        lambda: Keypair("a", OF_RING[:-1]),
        lambda: Keypair("a", b""),
        lambda: Keypair("a", "text"),
        lambda: Keypair("a", b"\x30\x2f" + BARE[2:]),
        lambda: Keypair.from_seed("a", b"short"),
        lambda: Keypair.from_text("ed25519 a"),
        lambda: Keypair.from_text("rsa a " + "A" * 43),
        lambda: Keypair.from_text("ed25519 a !!!"),
        lambda: Keypair.from_text("ed25519 a \ud800"),
        lambda: Keypair.from_text(None),
        lambda: pack_keypair("text"),
    ],
)
def test_what_is_no_key_is_refused(make):
    with pytest.raises(InvalidArgumentError):
        make()


@pytest.mark.parametrize("value", [b"", b"a", b"a\xff", b"\xff" + BARE, b"\xc0\xff" + BARE])
def test_a_damaged_row_is_told_without_its_secret(value):
    with pytest.raises(CorruptedError) as caught:
        unpack_keypair(value)
    assert SEED.hex() not in str(caught.value)
    assert caught.value.file == "global"


def test_the_secret_is_shown_nowhere():
    keypair = Keypair("a", OF_RING)
    assert "der" not in repr(keypair)
    assert decode_value("global", pack_keypair(keypair)) == "key pair a"
