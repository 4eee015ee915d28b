"""Builds the shared library: cffi's embedding mode, a C compiler, and the installed package.

The library remembers where this interpreter finds its packages, so a C program needs no Python
environment of its own; it does need this interpreter's shared library at run time, whose folder is
put into the library's run path.
"""

from __future__ import annotations

import json
import shutil
import sysconfig
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any

from conduitstore.errors import InvalidArgumentError

from .calls import SHIFT

MODULE = "_conduitstore_capi"
LIBRARY = "libconduitstore"
HEADER = "conduitstore.h"
# The Python halves of the public functions, as the library calls them.
PYTHON_HALVES = """
int py_open(const char *, uint64_t *);
int py_close(uint64_t);
int py_flush(uint64_t);
int py_get(uint64_t, const char *, const uint8_t *, size_t, uint8_t **, size_t *);
int py_insert(uint64_t, const char *, const uint8_t *, size_t, const uint8_t *, size_t);
int py_remove(uint64_t, const char *, const uint8_t *, size_t);
int py_scan_prefix(uint64_t, const char *, const uint8_t *, size_t, uint64_t *);
int py_scan_next(uint64_t, uint8_t **, size_t *, uint8_t **, size_t *);
int py_scan_close(uint64_t);
const char *py_error_message(void);
"""
INIT = """
import site

for path in {paths!r}:
    site.addsitedir(path)  # Editable installs are found through files there.

from {module} import ffi, lib
from conduitstore.capi.calls import install

install(ffi, lib)
"""


def build(directory: Path) -> list[Path]:
    """Write the header and the shared library into ``directory``, made if need be.

    Returns:
        Their paths, the header first.

    Raises:
        InvalidArgumentError: what is missing on this machine: cffi, a compiler, a shared Python.
    """
    ffi = _builder()
    directory.mkdir(parents=True, exist_ok=True)
    header = directory / HEADER
    header.write_text(_packaged(HEADER))
    with tempfile.TemporaryDirectory() as scratch:
        try:
            built = Path(ffi.compile(tmpdir=scratch, target=f"{LIBRARY}.*"))
        except Exception as error:
            raise InvalidArgumentError(f"the library could not be compiled: {error}") from error
        library = directory / built.name
        shutil.copyfile(built, library)
    return [header, library]


def _packaged(name: str) -> str:
    return (resources.files("conduitstore.capi") / name).read_text()


def _builder() -> Any:
    try:
        from cffi import FFI  # noqa: PLC0415 - an extra: only who builds needs it
    except ImportError as error:
        raise InvalidArgumentError(
            "building needs cffi: pip install 'conduitstore[capi]'"
        ) from error
    if not sysconfig.get_config_var("Py_ENABLE_SHARED"):
        raise InvalidArgumentError("this Python was built without a shared library to embed")
    paths = list(dict.fromkeys((sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))))
    ffi = FFI()
    ffi.embedding_api(PYTHON_HALVES)
    ffi.cdef("void *malloc(size_t);")
    ffi.embedding_init_code(INIT.format(paths=paths, module=MODULE))
    ffi.set_source(
        MODULE,
        # The public functions come after cffi's own, which they call: declare those first.
        "#include <stdint.h>\n#include <stddef.h>\n"
        + PYTHON_HALVES
        + f"#define CONDUITSTORE_SHIFT {SHIFT}\n"
        + f"#define CONDUITSTORE_PATHS {json.dumps(':'.join(paths))}\n"
        + _packaged("conduitstore.c").replace(f'#include "{HEADER}"', _packaged(HEADER)),
        library_dirs=[sysconfig.get_config_var("LIBDIR")],
        runtime_library_dirs=[sysconfig.get_config_var("LIBDIR")],
    )
    return ffi
