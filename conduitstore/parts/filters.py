"""What clients want of a sync, kept so that they need to say it once.

A filter's id is a hash of it, so a client that says the same at each start has one filter.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import sha256

from conduitstore.codec.values import pack_json_object, unpack_json_object
from conduitstore.parts.part import Near, Part, TreeOf, atomic
from conduitstore.schema import TREES
from conduitstore.types import FilterId, JsonObject, UserId

ID_LENGTH_MIN = 8

_FILTER = TREES["userfilterid_filter"].key


class Filters(Part[Near]):
    """Tree: ``userfilterid_filter``."""

    _filters = TreeOf("userfilterid_filter")

    @atomic
    def create(self, user: UserId, filter: JsonObject) -> FilterId:
        """Keep a filter; the same one again has the same id.

        Source: Conduit, create_filter, which draws four random characters and overwrites what has
        them already.
        """
        value = pack_json_object(filter)
        digest = urlsafe_b64encode(sha256(value).digest()).decode().rstrip("=")
        for length in range(ID_LENGTH_MIN, len(digest) + 1):
            key = _FILTER.pack(user, digest[:length])
            if self._filters.get(key) in (None, value):
                break
        self._filters.put(key, value)
        return FilterId(digest[:length])

    def get(self, user: UserId, filter: FilterId) -> JsonObject | None:
        """The filter of an id. Source: Conduit, get_filter."""
        value = self._filters.get(_FILTER.pack(user, filter))
        return None if value is None else unpack_json_object("userfilterid_filter", value)

    @atomic
    def forget_user(self, user: UserId) -> int:
        """Drop a user's filters; gives how many."""
        return self._filters.remove_prefix(_FILTER.prefix(user))
