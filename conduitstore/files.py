"""Where the bytes of media are: a directory, or memory for tests.

    store = conduitstore.open("homeserver-data", media_files=DirectoryFiles("homeserver-media"))

- A file is named by the SHA-256 of its bytes, so it never changes and is never there twice.
- It is written under a temporary name, synced and renamed: under its own name it is whole. Its
  directories are synced too, so it survives power loss before any row speaks of it.
- The directories are Conduit's default: two levels, each named by two digits of the hash.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from tempfile import NamedTemporaryFile
from threading import Lock
from typing import BinaryIO

from conduitstore.codec.keys import encode_hash
from conduitstore.errors import InvalidArgumentError, StoreFullError
from conduitstore.types import FileHash

__all__ = ["DirectoryFiles", "MemoryFiles"]

_LEVELS = 2
_DIGITS = 2
_UNFINISHED = "unfinished"


class DirectoryFiles:
    """Files in the directory ``path``, which is made where there is none.

    It must not be the store's own directory, and a backup of the store does not hold it: copy it
    after the backup was made, and each file that the backup's rows name is there.

    With ``read_only`` no directory is made, and nothing may be put.
    """

    def __init__(self, path: str | os.PathLike[str], *, read_only: bool = False) -> None:
        self.path = Path(path)
        self._unfinished = self.path / _UNFINISHED
        self._lock = Lock()
        self._durable: set[Path] = set()
        if not read_only:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            _sync(self.path.parent)
            self._make_directory(self._unfinished)

    def put(self, content: Iterable[bytes]) -> tuple[FileHash, int]:
        digest, size_bytes = sha256(), 0
        try:
            with NamedTemporaryFile(dir=self._unfinished, delete=False) as file:
                for piece in _checked(content):
                    digest.update(piece)
                    size_bytes += file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            name = FileHash(digest.hexdigest())
            self._publish(Path(file.name), self._path_of(name))
        except BaseException as error:
            with suppress(FileNotFoundError, UnboundLocalError):
                Path(file.name).unlink()
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StoreFullError(f"no space for a file in {self.path}") from error
            raise
        return name, size_bytes

    def _publish(self, unfinished: Path, target: Path) -> None:
        self._make_directory(target.parent)
        unfinished.rename(target)
        _sync(target.parent)

    def _make_directory(self, path: Path) -> None:
        """Make it, durably. One that is there may be there since just now, in memory only."""
        with self._lock:
            if path not in self._durable:
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
                for parent in path.relative_to(self.path).parents:
                    _sync(self.path / parent)
                self._durable.add(path)

    def open(self, file: FileHash) -> BinaryIO | None:
        try:
            return self._path_of(file).open("rb")
        except FileNotFoundError:
            return None

    def size(self, file: FileHash) -> int | None:
        try:
            return self._path_of(file).stat().st_size
        except FileNotFoundError:
            return None

    def remove(self, file: FileHash) -> bool:
        try:
            self._path_of(file).unlink()
        except FileNotFoundError:
            return False
        return True

    def hashes(self) -> Iterator[FileHash]:
        pattern = "/".join(["[0-9a-f]" * _DIGITS] * _LEVELS + ["[0-9a-f]" * 60])
        for path in self.path.glob(pattern):
            yield FileHash("".join(path.relative_to(self.path).parts))

    def remove_unfinished(self, age_secs: float = 24 * 60 * 60) -> int:
        """Delete what writers that died left behind at least ``age_secs`` ago; gives how many."""
        limit = time.time() - age_secs
        found = [path for path in self._unfinished.iterdir() if path.stat().st_mtime <= limit]
        for path in found:
            path.unlink(missing_ok=True)
        return len(found)

    def _path_of(self, file: FileHash) -> Path:
        encode_hash(file)  # Nothing but 64 digits becomes a path.
        cuts = range(0, _LEVELS * _DIGITS, _DIGITS)
        folders = [file[cut : cut + _DIGITS] for cut in cuts]
        return self.path.joinpath(*folders, file[_LEVELS * _DIGITS :])


class MemoryFiles:
    """Files that are gone with the process."""

    def __init__(self) -> None:
        self._files: dict[bytes, bytes] = {}

    def put(self, content: Iterable[bytes]) -> tuple[FileHash, int]:
        whole = b"".join(_checked(content))
        digest = sha256(whole)
        self._files[digest.digest()] = whole
        return FileHash(digest.hexdigest()), len(whole)

    def open(self, file: FileHash) -> BinaryIO | None:
        whole = self._files.get(encode_hash(file))
        return None if whole is None else BytesIO(whole)

    def size(self, file: FileHash) -> int | None:
        whole = self._files.get(encode_hash(file))
        return None if whole is None else len(whole)

    def remove(self, file: FileHash) -> bool:
        return self._files.pop(encode_hash(file), None) is not None

    def hashes(self) -> Iterator[FileHash]:
        return iter([FileHash(digest.hex()) for digest in list(self._files)])


def _checked(content: Iterable[bytes] | bytes) -> Iterator[bytes]:
    if isinstance(content, str | bytes):  # Which iterate as letters and numbers.
        raise InvalidArgumentError("content comes in pieces of bytes: give [content]")
    for piece in content:
        if not isinstance(piece, bytes):
            raise InvalidArgumentError(f"content is bytes, not {type(piece).__name__}")
        yield piece


def _sync(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
