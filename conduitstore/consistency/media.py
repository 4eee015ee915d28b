"""Media against their files: what each stands for, what each is counted as, and the bytes."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from itertools import chain

from conduitstore.codec.keys import U64_MAX
from conduitstore.kv import Keyspace
from conduitstore.parts.beside import FileStore
from conduitstore.parts.media.records import KINDS
from conduitstore.schema import TREES
from conduitstore.types import FileHash

from .findings import Finding
from .references import Reference
from .rows import rows

BEHIND = {
    "filehash_servername_mediaid": "servernamemediaid_metadata",
    "filehash_thumbnailid": "thumbnailid_metadata",
}
"""What a file is behind, by file, and the same by name."""

_FILE = {"file": "file"}
_READ_BYTES = 1 << 20
_U64_BYTES = 8
_ACCESSED = TREES["kindaccessedfilehash_size"].key
_CREATED = TREES["kindcreatedfilehash_size"].key
FILE_KINDS = [TREES["mediakind_usage"].key.pack(kind) for kind in KINDS]
_USAGE = TREES["mediakind_usage"].value_fields
_BLOCK = TREES["blocked_servername_mediaid"].key

MEDIA = (
    *(Reference(named, by_file) for by_file, named in BEHIND.items()),
    *(Reference(by_file, named, agrees=_FILE) for by_file, named in BEHIND.items()),
    Reference("servernamemediaid_userlocalpart", "servername_userlocalpart_mediaid",
              {"localpart": "value"}),
    Reference("servername_userlocalpart_mediaid", "servernamemediaid_userlocalpart",
              value="localpart"),
    Reference("servernamemediaid_userlocalpart", "servernamemediaid_metadata"),
    Reference("filehash_removal", "filehash_metadata", is_absent=True),
    Reference("kindaccessedfilehash_size", "filehash_metadata",
              agrees={"accessed_secs": "accessed_secs", "size_bytes": "value"}),
    Reference("kindcreatedfilehash_size", "filehash_metadata",
              agrees={"created_secs": "created_secs", "size_bytes": "value"}),
    Reference("mediaid_pending", "userid_pending", value="expires_ms"),
    Reference("userid_pending", "mediaid_pending",
              agrees={"user": "user", "expires_ms": "value"}),
    Reference("mediaid_pending", "expiresms_mediaid"),
    Reference("expiresms_mediaid", "mediaid_pending", agrees={"expires_ms": "expires_ms"}),
)  # fmt: skip
"""What must agree row by row."""


def unused(view: Keyspace) -> Iterator[Finding]:
    """Files that nothing refers to, and media whose file is gone though nobody blocked it."""
    by_file = [view.open_tree(name) for name in BEHIND]
    for row in rows(view, "filehash_metadata"):
        if not any(next(tree.keys(row["file"], limit=1), None) for tree in by_file):
            yield Finding("filehash_metadata", row["key"], "no media and no thumbnail is this file")
    files = view.open_tree("filehash_metadata")
    for named in BEHIND.values():
        for row in rows(view, named):
            if not files.contains_key(row["file"]) and not _is_blocked(view, row["file"]):
                yield Finding(named, row["key"], f"there is no file {row['file'].hex()}")


def _is_blocked(view: Keyspace, file: bytes) -> bool:
    """Whether anything with these bytes is blocked."""
    blocks = view.open_tree("blocked_servername_mediaid")
    media = chain.from_iterable(rows(view, name, file) for name in BEHIND)
    return any(blocks.contains_key(_BLOCK.join(row["server"], row["media_id"])) for row in media)


def of_no_kind(view: Keyspace) -> Iterator[Finding]:
    """Files that are listed under no kind, under several, or by one of their two times only."""
    by_access = view.open_tree("kindaccessedfilehash_size")
    by_age = view.open_tree("kindcreatedfilehash_size")
    for row in rows(view, "filehash_metadata"):
        file, accessed, created = row["file"], row["accessed_secs"], row["created_secs"]
        used = [kind for kind in FILE_KINDS if _ACCESSED.join(kind, accessed, file) in by_access]
        made = [kind for kind in FILE_KINDS if _CREATED.join(kind, created, file) in by_age]
        if used != made or len(used) != 1:
            text = f"by use it is of kind {used}, by age of {made}; it must be the same one"
            yield Finding("filehash_metadata", row["key"], text)


def miscounted_kinds(view: Keyspace) -> Iterator[Finding]:
    """Kinds of which there are more or fewer files, or bytes, than they say."""
    usage = view.open_tree("mediakind_usage")
    for kind in sorted({*FILE_KINDS, *(row["kind"] for row in rows(view, "mediakind_usage"))}):
        expected = usage_of(view, kind)
        if usage.get(kind) != expected:
            text = f"it says {usage.get(kind)!r}, a count gives {expected!r}"
            yield Finding("mediakind_usage", kind, text)


def usage_of(view: Keyspace, kind: bytes) -> bytes | None:
    """How many files of a kind there are and their bytes, counted; None for none at all."""
    files = size_bytes = 0
    for row in rows(view, "kindcreatedfilehash_size", _CREATED.join(kind)):
        if len(row["value"]) == _U64_BYTES:
            files += 1
            size_bytes += int.from_bytes(row["value"])
    return _USAGE.pack(files, size_bytes & U64_MAX) if files else None


def damaged_files(view: Keyspace, files: FileStore) -> Iterator[Finding]:
    """Files that are not there, or not as their row says. Cost: every file is read."""
    for row in rows(view, "filehash_metadata"):
        text = _damage(files, FileHash(row["file"].hex()), row["size_bytes"])
        if text is not None:
            yield Finding("filehash_metadata", row["key"], text)


def _damage(files: FileStore, name: FileHash, says: bytes) -> str | None:
    content = files.open(name)
    if content is None:
        return "the file is not there"
    digest, size_bytes = sha256(), 0
    with content:
        while piece := content.read(_READ_BYTES):
            digest.update(piece)
            size_bytes += len(piece)
    if size_bytes != int.from_bytes(says):
        return f"the file has {size_bytes} bytes, not {int.from_bytes(says)}"
    return None if digest.hexdigest() == name else "the file holds other bytes"
