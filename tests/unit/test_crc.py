"""Checksums are the same numbers whoever computes them."""

import importlib
import sys
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduitstore.engine import crc


@pytest.fixture(params=["with the extra", "without it"], autouse=True, scope="module")
def library(request):
    if request.param == "with the extra":
        pytest.importorskip("zlib_ng", reason="the extra `fast` is not installed")
        yield importlib.reload(crc)
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "zlib_ng.zlib_ng", None)
        assert importlib.reload(crc).crc32 is zlib.crc32
        yield crc
    importlib.reload(crc)


@given(st.binary(max_size=300), st.integers(0, (1 << 64) - 1))
def test_a_checksum_from_any_start(data, start):
    assert crc.crc32(data, start) == zlib.crc32(data, start)


@pytest.mark.parametrize("length", [0, 1, 15, 16, 63, 64, 65, 4_096, 100_003])
def test_a_checksum_of_any_length(length):
    data = bytes(n * 7 % 251 for n in range(length))
    assert crc.crc32(data) == zlib.crc32(data)
    assert crc.crc32(memoryview(data)[1:], 7) == zlib.crc32(data[1:], 7)
