"""The order of one-time keys: that each has a place in it; which one, nothing else tells."""

from __future__ import annotations

from conduitstore.codec.values import EMPTY, pack_u64
from conduitstore.consistency.keys import key_of_upload, split_key_id, upload_of_key
from conduitstore.consistency.rows import row_of, total_at
from conduitstore.kv import Keyspace
from conduitstore.schema import TREES

from .derived import Derivation, Item, row_at

_KEYS = TREES["onetimekeyid_onetimekeys"]
_UPLOADS = TREES["onetimekeyuploads"]


def _upload(view: Keyspace, item: Item) -> list[Item]:
    """The key's turn; one that was lost comes behind all that its user has."""
    row = row_of(_KEYS, *item)
    if row is None:
        return []
    known = upload_of_key(view, row)
    if known is not None:
        return [(known, EMPTY)]
    algorithm, name = split_key_id(row)
    count = pack_u64(total_at(view, "userid_lastonetimekeyupdate", row["user"]))
    return [(_UPLOADS.key.join(row["user"], row["device"], algorithm, count, name), EMPTY)]


def _key(view: Keyspace, item: Item) -> Item | None:
    row = row_of(_UPLOADS, *item)
    return None if row is None else row_at(view, _KEYS.name, key_of_upload(row))


UPLOADS = Derivation(_UPLOADS.name, _KEYS.name, _upload, _key)
