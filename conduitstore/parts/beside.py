"""What belongs to a store and is in none of its trees: files, and what only memory holds.

One :class:`Beside` serves every keyspace of a store: a part finds it as ``near.beside``, inside a
transaction as on the store. No commit covers it: what is done here is done, and a transaction that
fails takes nothing back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import BinaryIO, Protocol, TypeVar, cast

from conduitstore.errors import InvalidArgumentError
from conduitstore.types import FileHash

T = TypeVar("T")


class FileStore(Protocol):
    """Bytes under the name of their SHA-256. Any thread may use it."""

    def put(self, content: Iterable[bytes]) -> tuple[FileHash, int]:
        """Keep the pieces of ``content`` as one file; gives its name and its size in bytes.

        The file survives power loss when this returns. One that is there already is written anew,
        which mends it if it was damaged.
        """

    def open(self, file: FileHash) -> BinaryIO | None:
        """The file for reading; it stays readable if it is removed meanwhile. None: no such."""

    def size(self, file: FileHash) -> int | None:
        """Its size in bytes; None where there is none."""

    def remove(self, file: FileHash) -> bool:
        """Delete it; gives whether there was one."""

    def hashes(self) -> Iterator[FileHash]:
        """Every file there is, in no order."""


class Beside:
    """See the module.

    Args:
        files: the bytes of media.
    """

    def __init__(self, files: FileStore | None = None) -> None:
        self._files = files
        self._memory: dict[type, object] = {}

    @property
    def has_files(self) -> bool:
        """Whether the store was opened with files."""
        return self._files is not None

    @property
    def files(self) -> FileStore:
        """The bytes of media.

        Raises:
            InvalidArgumentError: the store was opened without them.
        """
        if self._files is None:
            raise InvalidArgumentError(
                "this store was opened without files: conduitstore.open(path, media_files=...)"
            )
        return self._files

    def memory(self, kind: type[T]) -> T:
        """The store's one ``kind()``, made when it is first asked for and gone with the process."""
        found = self._memory.get(kind)
        if found is None:  # Whoever comes second gets what the first one made.
            found = self._memory.setdefault(kind, kind())
        return cast("T", found)
