"""One-time keys against their order, and backups against how many keys they hold."""

from __future__ import annotations

import json
from collections.abc import Iterator

from conduitstore.kv import Keyspace
from conduitstore.schema import TREES

from .findings import Finding
from .rows import Row, found_at, rows, total_at

_KEY = TREES["onetimekeyid_onetimekeys"].key
_UPLOAD = TREES["onetimekeyuploads"].key
_BACKED_UP = TREES["backupkeyid_backup"].key


def key_of_upload(row: Row) -> bytes:
    """Where the key is whose place in the order a row of ``onetimekeyuploads`` is."""
    key_id = b"%b:%b" % (row["algorithm"], row["name"])
    quoted = json.dumps(key_id.decode(errors="replace"), ensure_ascii=False).encode()
    return _KEY.join(row["user"], row["device"], quoted)


def upload_of_key(view: Keyspace, row: Row) -> bytes | None:
    """Where a key's place in the order is. Cost: a scan of the device's keys of its algorithm."""
    algorithm, name = split_key_id(row)
    known = rows(view, "onetimekeyuploads", _UPLOAD.join(row["user"], row["device"], algorithm))
    return next((found["key"] for found in known if found["name"] == name), None)


def split_key_id(row: Row) -> tuple[bytes, bytes]:
    """A key's algorithm and name; both empty where its id cannot be read."""
    try:
        algorithm, _, name = str(json.loads(row["quoted_key_id"])).partition(":")
    except ValueError:
        return b"", b""
    return algorithm.encode(errors="replace"), name.encode(errors="replace")


def out_of_order(view: Keyspace) -> Iterator[Finding]:
    """One-time keys that nobody would ever get, and turns without a key."""
    for row in rows(view, "onetimekeyid_onetimekeys"):
        if upload_of_key(view, row) is None:
            text = "it has no turn in onetimekeyuploads"
            yield Finding("onetimekeyid_onetimekeys", row["key"], text)
    keys = view.open_tree("onetimekeyid_onetimekeys")
    for row in rows(view, "onetimekeyuploads"):
        if found_at(keys, key_of_upload(row)) is None:
            yield Finding("onetimekeyuploads", row["key"], "it is the turn of no key")


def miscounted(view: Keyspace) -> Iterator[Finding]:
    """Backups that hold more or fewer keys than they say."""
    for row in rows(view, "backupid_algorithm"):
        held = rows(view, "backupkeyid_backup", _BACKED_UP.join(row["user"], row["version"]))
        total, says = sum(1 for _ in held), total_at(view, "backupid_keystotal", row["key"])
        if total != says:
            yield Finding("backupid_keystotal", row["key"], f"it says {says}, there are {total}")
