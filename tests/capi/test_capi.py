"""The C interface: built, compiled against and run, where this machine can."""

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from conduitstore import errors
from conduitstore.capi import build as capi_build
from conduitstore.capi.calls import FAILED, STATUSES, status_of
from conduitstore.engine import embedded

ROOT = Path(__file__).parents[2]
COMPILER = shutil.which("cc") or shutil.which("gcc")
HEADER = (ROOT / "conduitstore/capi/conduitstore.h").read_text()

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="there is no C compiler here")
needs_shared_python = pytest.mark.skipif(
    not sysconfig.get_config_var("Py_ENABLE_SHARED"),
    reason="this Python has no shared library to embed",
)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    directory = tmp_path_factory.mktemp("capi")
    header, library = capi_build.build(directory)
    assert header.read_text() == HEADER
    return library


@pytest.fixture(scope="module")
def cabinet(built, tmp_path_factory):
    """The example, compiled."""
    program = tmp_path_factory.mktemp("example") / "cabinet"
    directory = built.parent
    subprocess.run(
        [COMPILER, "-Wall", "-Wextra", "-Werror", f"-I{directory}",
         ROOT / "examples/filing_cabinet.c", f"-L{directory}", "-lconduitstore",
         f"-Wl,-rpath,{directory}", "-o", program],
        check=True,
    )  # fmt: skip
    return program


@needs_compiler
@needs_shared_python
@pytest.mark.slow
def test_the_example_runs_and_python_reads_what_c_wrote(cabinet, tmp_path):
    done = subprocess.run([cabinet, tmp_path / "s"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "note:keys says: the spare one is at Alice's",
        "to do:",
        "  todo:bike = mend the tyre",
        "  todo:milk = two litres",
        "  todo:post = send the parcel",
        "left after the milk:",
        "  note:keys = the spare one is at Alice's",
        "  todo:bike = mend the tyre",
        "  todo:post = send the parcel",
        "an empty key: InvalidArgumentError: a key must have 1 to 2048 bytes, this one has 0",
    ]
    with embedded.open(tmp_path / "s") as db:
        assert not db.was_recovered
        assert len(db.open_tree("cabinet")) == 3


@needs_compiler
@needs_shared_python
@pytest.mark.slow
def test_an_error_is_a_status_and_a_message(cabinet, tmp_path):
    with embedded.open(tmp_path / "s"):
        done = subprocess.run(
            [cabinet, tmp_path / "s"], capture_output=True, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stderr.startswith("LockedError: ")
    assert f"process {os.getpid()}" in done.stderr


@needs_compiler
@needs_shared_python
@pytest.mark.slow
def test_a_python_that_does_not_start_is_no_success(built, tmp_path):
    source = tmp_path / "start.c"
    source.write_text(
        '#include <stdio.h>\n#include "conduitstore.h"\n'
        "int main(void) { conduitstore_db db; int status = conduitstore_flush(7);\n"
        'printf("%d %s\\n", status, conduitstore_error_message());\n'
        'return conduitstore_open("s", &db) == CONDUITSTORE_FAILED ? 0 : 1; }\n'
    )
    # A copy whose packages are nowhere.
    broken = tmp_path / built.name
    broken.write_bytes(
        built.read_bytes().replace(b"conduitstore.capi.calls", b"conduitstore.capi.c-lls")
    )
    program = tmp_path / "start"
    subprocess.run(
        [COMPILER, f"-I{built.parent}", source, f"-L{tmp_path}", "-lconduitstore",
         f"-Wl,-rpath,{tmp_path}", "-o", program],
        check=True,
    )  # fmt: skip
    done = subprocess.run([program], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{FAILED} the embedded Python did not start")


def test_every_error_has_the_status_that_the_header_names():
    for error, status in STATUSES.items():
        words = "".join(f"_{c}" if c.isupper() else c for c in error.__name__.removesuffix("Error"))
        assert f"CONDUITSTORE{words.upper()} = {status}," in HEADER
    assert f"CONDUITSTORE_FAILED = {FAILED} " in HEADER
    assert status_of(errors.CorruptedError("log", 7, "rot")) == -3
    assert status_of(KeyError()) == FAILED


def test_without_cffi_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "cffi", None)
    with pytest.raises(errors.InvalidArgumentError, match=r"conduitstore\[capi\]"):
        capi_build.build(tmp_path / "capi")
    assert not (tmp_path / "capi").exists()
