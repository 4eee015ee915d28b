"""The compiled build is what setup.py says, and only where it was asked for."""

import importlib
import runpy
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from conduitstore.engine.embedded import forest

ARE_COMPILED = not forest.__file__.endswith(".py")


@pytest.fixture(scope="module")
def modules(root):
    """The modules that setup.py compiles, as paths."""
    return runpy.run_path(str(root / "setup.py"))["MODULES"]


def test_what_is_compiled_is_listed_once_and_is_there(root, modules):
    assert modules == sorted(set(modules))
    assert [name for name in modules if not (root / name).is_file()] == []


def test_all_of_it_is_compiled_or_nothing(modules):
    suffix = EXTENSION_SUFFIXES[0] if ARE_COMPILED else ".py"
    for name in modules:
        module = importlib.import_module(name.removesuffix(".py").replace("/", "."))
        assert module.__file__.endswith(suffix)
        assert Path(module.__file__).with_name(Path(name).name).is_file(), "for tracebacks"
