"""What `pip install` gives: built from the repository's files, put into an empty environment."""

import shutil
import subprocess
import sys
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


def run(*command, cwd):
    result = subprocess.run(
        [str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result


@pytest.fixture(scope="module")
def wheel(tmp_path_factory, root, tracked):
    """Built from a copy, so that nothing left in the working tree can get in."""
    source = tmp_path_factory.mktemp("source")
    for path in tracked:
        copy = source / path.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", cwd=source)
    (built,) = (source / "dist").glob("*.whl")
    return built


def test_the_wheel_holds_the_package_and_nothing_else(wheel, root, tracked):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    package = {path.relative_to(root) for path in tracked}
    expected = {str(path) for path in package if path.parts[0] == "conduitstore"}
    expected |= {f"conduitstore/{path}" for path in package if path.parts[0] == "migrations"}
    assert names == expected
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
