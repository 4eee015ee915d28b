"""What the C functions do, in Python: handles in, bytes copied out, errors as statuses.

``install`` runs inside the embedded interpreter, when the library is first called.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from functools import wraps
from typing import Any

from conduitstore import errors
from conduitstore.engine import open as open_engine
from conduitstore.kv import Database, Items

OK, ABSENT, FAILED = 0, 1, -8
SHIFT = 100
"""Added to every status on its way to C, where 0 means that Python did not even start."""
STATUSES: dict[type[Exception], int] = {
    errors.InvalidArgumentError: -1,
    errors.LockedError: -2,
    errors.CorruptedError: -3,
    errors.UnsupportedFormatError: -4,
    errors.StoreFullError: -5,
    errors.PoisonedError: -6,
    errors.ClosedError: -7,
}


def status_of(error: Exception) -> int:
    """The status that stands for an error in C."""
    return next((status for kind, status in STATUSES.items() if isinstance(error, kind)), FAILED)


class Handles:
    """Open stores and scans by the numbers that C knows them by."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._stores: dict[int, Database] = {}
        self._scans: dict[int, tuple[int, Items]] = {}

    def add_store(self, db: Database) -> int:
        number = next(self._numbers)
        self._stores[number] = db
        return number

    def add_scan(self, store: int, items: Items) -> int:
        number = next(self._numbers)
        self._scans[number] = store, items
        return number

    def store(self, number: int) -> Database:
        try:
            return self._stores[number]
        except KeyError:
            raise errors.ClosedError(f"{number} is no open store") from None

    def scan(self, number: int) -> Items:
        try:
            return self._scans[number][1]
        except KeyError:
            raise errors.ClosedError(f"{number} is no open scan") from None

    def close_store(self, number: int) -> None:
        db = self.store(number)
        with self._lock:
            self._stores.pop(number, None)
            for scan, (store, _) in list(self._scans.items()):
                if store == number:
                    self._scans.pop(scan, None)
        db.close()

    def close_scan(self, number: int) -> None:
        self.scan(number)
        self._scans.pop(number, None)


class Calls:
    """One method for each C function that can fail, named like it."""

    def __init__(self, ffi: Any, lib: Any) -> None:
        self._ffi = ffi
        self._lib = lib
        self._handles = Handles()

    # Bytes in and out -------------------------------------------------------------------------
    def _text(self, pointer: Any) -> str:
        if pointer == self._ffi.NULL:
            raise errors.InvalidArgumentError("text must not be NULL")
        try:
            return bytes(self._ffi.string(pointer)).decode()
        except UnicodeDecodeError as error:
            raise errors.InvalidArgumentError(f"text must be UTF-8: {error}") from error

    def _bytes(self, pointer: Any, size: int) -> bytes:
        if size == 0:
            return b""
        if pointer == self._ffi.NULL:
            raise errors.InvalidArgumentError("a pointer to bytes must not be NULL")
        return bytes(self._ffi.buffer(pointer, size))

    def _hand_out(self, data: bytes, pointer: Any, size: Any) -> None:
        memory = self._lib.malloc(max(1, len(data)))
        if memory == self._ffi.NULL:
            raise MemoryError
        self._ffi.memmove(memory, data, len(data))
        pointer[0] = self._ffi.cast("uint8_t *", memory)
        size[0] = len(data)

    # The calls --------------------------------------------------------------------------------
    def open(self, path: Any, db: Any) -> int:
        db[0] = self._handles.add_store(open_engine(self._text(path)))
        return OK

    def close(self, db: int) -> int:
        self._handles.close_store(db)
        return OK

    def flush(self, db: int) -> int:
        self._handles.store(db).flush()
        return OK

    def get(self, db: int, tree: Any, key: Any, key_bytes: int, value: Any, size: Any) -> int:
        opened = self._handles.store(db).open_tree(self._text(tree))
        found = opened.get(self._bytes(key, key_bytes))
        if found is None:
            return ABSENT
        self._hand_out(found, value, size)
        return OK

    def insert(self, db: int, tree: Any, key: Any, key_bytes: int, value: Any, size: int) -> int:
        opened = self._handles.store(db).open_tree(self._text(tree))
        opened.insert(self._bytes(key, key_bytes), self._bytes(value, size))
        return OK

    def remove(self, db: int, tree: Any, key: Any, key_bytes: int) -> int:
        opened = self._handles.store(db).open_tree(self._text(tree))
        return ABSENT if opened.remove(self._bytes(key, key_bytes)) is None else OK

    def scan_prefix(self, db: int, tree: Any, prefix: Any, prefix_bytes: int, scan: Any) -> int:
        opened = self._handles.store(db).open_tree(self._text(tree))
        items = opened.scan_prefix(self._bytes(prefix, prefix_bytes))
        scan[0] = self._handles.add_scan(db, items)
        return OK

    def scan_next(self, scan: int, key: Any, key_bytes: Any, value: Any, value_bytes: Any) -> int:
        item = next(self._handles.scan(scan), None)
        if item is None:
            self._handles.close_scan(scan)
            return ABSENT
        self._hand_out(item[0], key, key_bytes)
        self._hand_out(item[1], value, value_bytes)
        return OK

    def scan_close(self, scan: int) -> int:
        self._handles.close_scan(scan)
        return OK


CALLS = (
    "open", "close", "flush", "get", "insert", "remove", "scan_prefix", "scan_next", "scan_close",
)  # fmt: skip


def install(ffi: Any, lib: Any) -> None:
    """Put Python behind every function of the library."""
    calls = Calls(ffi, lib)
    said = threading.local()

    def with_status(call: Callable[..., int]) -> Callable[..., int]:
        @wraps(call)
        def run(*args: Any) -> int:
            try:
                return call(*args) + SHIFT
            except Exception as error:  # noqa: BLE001 - C has no exceptions, only statuses
                said.message = ffi.new(
                    "char[]", f"{type(error).__name__}: {error}".encode(errors="replace")
                )
                return status_of(error) + SHIFT

        return run

    def error_message() -> Any:
        if not hasattr(said, "message"):
            said.message = ffi.new("char[]", b"")
        return said.message

    for name in CALLS:
        ffi.def_extern(f"py_{name}")(with_status(getattr(calls, name)))
    ffi.def_extern("py_error_message")(error_message)
