"""What `pip install` gives: built from the repository's files, put into an empty environment."""

import os
import runpy
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile

import pytest

pytestmark = pytest.mark.slow

SCRIPT = """
import conduitstore, conduitstore.migrations, conduitstore.demo.history as history
assert {place!r} in conduitstore.__file__, conduitstore.__file__
with conduitstore.open("store") as store:
    store.users.create("@a:example.org", None)
with conduitstore.open("store") as store:
    assert store.users.all() == ["@a:example.org"]
assert len(history.History()) > 9_000
"""


COMPILED_SCRIPT = """
import conduitstore.engine.embedded.forest as forest
assert {place!r} in forest.__file__ and not forest.__file__.endswith(".py"), forest.__file__
"""


def run(*command, cwd, **variables):
    outside = {name: text for name, text in os.environ.items() if name != "CONDUITSTORE_COMPILE"}
    result = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=outside | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result


def built(tmp_path_factory, root, tracked, **variables):
    """A wheel built from a copy, so that nothing left in the working tree can get in."""
    source = tmp_path_factory.mktemp("source")
    for path in tracked:
        copy = source / path.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", cwd=source, **variables)
    (wheel,) = (source / "dist").glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory, root, tracked):
    return built(tmp_path_factory, root, tracked)


@pytest.fixture(scope="module")
def compiled_wheel(tmp_path_factory, root, tracked):
    if os.environ.get("CONDUITSTORE_COMPILE") != "1":
        pytest.skip("a minute: a part of make compiled")
    return built(tmp_path_factory, root, tracked, CONDUITSTORE_COMPILE="1")


def names_in(wheel):
    return {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}


def package_of(root, tracked):
    package = {path.relative_to(root) for path in tracked}
    names = {str(path) for path in package if path.parts[0] == "conduitstore"}
    return names | {f"conduitstore/{path}" for path in package if path.parts[0] == "migrations"}


def test_the_wheel_holds_the_package_and_nothing_else(wheel, root, tracked):
    names = names_in(wheel)
    assert names == package_of(root, tracked)
    assert {
        "conduitstore/py.typed",
        "conduitstore/demo/two-servers.ndjson.zst",
        "conduitstore/migrations/__init__.py",
    } <= names


def test_the_wheel_works_in_an_empty_environment(wheel, tmp_path):
    home = tmp_path / "empty"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", wheel, cwd=tmp_path)
    run(python, "-I", "-c", SCRIPT.format(place=str(home)), cwd=tmp_path)
    bare = subprocess.run(
        [home / "bin" / "conduitstore"], capture_output=True, text=True, check=False
    )
    assert (bare.returncode, bare.stdout) == (1, "")
    assert "pip install 'conduitstore[cli]'" in bare.stderr


@pytest.mark.timeout(900)
def test_the_compiled_wheel_adds_what_was_compiled(compiled_wheel, root, tracked, tmp_path):
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    modules = runpy.run_path(str(root / "setup.py"))["MODULES"]
    added = {f"conduitstore__mypyc{suffix}"}
    added |= {f"{name.removesuffix('.py')}{suffix}" for name in modules}
    assert names_in(compiled_wheel) == package_of(root, tracked) | added
    home = tmp_path / "empty"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", compiled_wheel, cwd=tmp_path)
    run(python, "-I", "-c", SCRIPT.format(place=str(home)), cwd=tmp_path)
    run(python, "-I", "-c", COMPILED_SCRIPT.format(place=str(home)), cwd=tmp_path)
