"""JSON is the same values whoever reads it."""

import importlib
import json
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from conduitstore.codec import parsing, values
from conduitstore.errors import CorruptedError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
ODD = [
    *(b"18446744073709551616", b"-9223372036854775809", b"1" * 5_000, b"-0", b"-0.0", b"01"),
    *(b"1e400", b"1e-400", b"1E5", b"0.1000000000000000055511151231257827", b"NaN", b"-Infinity"),
    *(rb'"\ud800"', rb'"\ud83d\ude00"', rb'"\u0000"', b'"\x01"', b'"\x7f"', b'"\xed\xa0\x80"'),
    *(b'{"a":1,"b":2,"a":3}', b'{"a":1,}', b"[1,]", b"{1:2}", b"\xef\xbb\xbf{}", b"\xff", b""),
    *(b" [1] ", b"\x0b[]", b"{} {}", b"[" * 2_000 + b"]" * 2_000, b"nul", b'"', b"{}\0"),
]


@pytest.fixture(params=["with the extra", "without it"], autouse=True, scope="module")
def library(request):
    if request.param == "with the extra":
        pytest.importorskip("msgspec", reason="the extra `fast` is not installed")
        assert parsing.parse is not parsing.parse_all
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "msgspec.json", None)
        patch.setattr(values, "parse", importlib.reload(parsing).parse)
        assert values.parse is parsing.parse_all
        yield
    importlib.reload(parsing)


def by_python(raw):
    """What Python makes of it, told apart to the last bit; None where it is no JSON."""
    try:
        return repr(json.loads(raw.decode()))
    except (ValueError, RecursionError):
        return None


def by_us(raw):
    try:
        return repr(values.unpack_json("tree", raw))
    except CorruptedError:
        return None


@given(VALUES, st.booleans())
def test_what_can_be_written_is_read_as_it_was(value, is_ascii):
    raw = json.dumps(value, ensure_ascii=is_ascii).encode(errors="surrogatepass")
    assert by_us(raw) == by_python(raw)


@pytest.mark.parametrize("raw", ODD)
def test_what_readers_disagree_on(raw):
    for wrapped in (raw, b'{"a":' + raw + b"}", b"[" + raw + b",1]"):
        assert by_us(wrapped) == by_python(wrapped)


@given(VALUES, st.data())
@example({"a": ["b", 1.5, None]}, None)
def test_damaged_json(value, data):
    raw = bytearray(json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass"))
    if data is not None:
        for _ in range(data.draw(st.integers(1, 3))):
            at = data.draw(st.integers(0, len(raw) - 1))
            raw[at] = data.draw(st.integers(0, 255))
    assert by_us(bytes(raw)) == by_python(bytes(raw))
