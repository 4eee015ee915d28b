"""Profiles with fields of any name (MSC4133).

``displayname`` and ``avatar_url`` are fields too: they are kept where Conduit keeps them, by the
part of users, and found there whichever way they were set.
"""

from __future__ import annotations

from typing import Any, Protocol

from conduitstore.codec.values import pack_json, unpack_json
from conduitstore.errors import InvalidArgumentError, shown
from conduitstore.parts.part import Near, Part, TreeOf, atomic, consistent
from conduitstore.schema import TREES
from conduitstore.types import JsonObject, UserId

_FIELD = TREES["useridprofilekey_value"].key


class Names(Protocol):
    """The two fields that every profile may have."""

    def displayname(self, user: UserId) -> str | None: ...
    def set_displayname(self, user: UserId, text: str | None) -> None: ...
    def avatar_url(self, user: UserId) -> str | None: ...
    def set_avatar_url(self, user: UserId, text: str | None) -> None: ...


class ProfilesNear(Near, Protocol):
    """Where those two are kept."""

    @property
    def users(self) -> Names: ...


class Profiles(Part[ProfilesNear]):
    """Tree: ``useridprofilekey_value``. A field's name has 1 to 255 bytes, its value any JSON."""

    _values = TreeOf("useridprofilekey_value")

    @atomic
    def set(self, user: UserId, field: str, value: Any) -> None:
        """Set a field. Source: the forks, set_profile_key.

        Raises:
            InvalidArgumentError: a display name or avatar that is no text.
        """
        if field not in ("displayname", "avatar_url"):
            self._values.put(_FIELD.pack(user, field), pack_json(value))
        elif isinstance(value, str):
            self._set_name(user, field, value)
        else:
            raise InvalidArgumentError(f"{field} is text, not {shown(value)}")

    @atomic
    def remove(self, user: UserId, field: str) -> None:
        """Remove a field; one that is not there is fine."""
        if field in ("displayname", "avatar_url"):
            self._set_name(user, field, None)
        else:
            self._values.put(_FIELD.pack(user, field), None)

    def _set_name(self, user: UserId, field: str, text: str | None) -> None:
        users = self._near.users
        (users.set_displayname if field == "displayname" else users.set_avatar_url)(user, text)

    @consistent
    def all(self, user: UserId) -> JsonObject:
        """Every field of a user's profile. Source: the forks, all_profile_keys."""
        users = self._near.users
        names = {"avatar_url": users.avatar_url(user), "displayname": users.displayname(user)}
        others = {
            _FIELD.unpack(key)[1]: unpack_json("useridprofilekey_value", value)
            for key, value in self._values.scan_prefix(_FIELD.prefix(user))
        }
        return {field: text for field, text in names.items() if text is not None} | others

    def get(self, user: UserId, field: str) -> Any:
        """A field's value; None where there is none. Source: the forks, profile_key."""
        if field == "displayname":
            return self._near.users.displayname(user)
        if field == "avatar_url":
            return self._near.users.avatar_url(user)
        value = self._values.get(_FIELD.pack(user, field))
        return None if value is None else unpack_json("useridprofilekey_value", value)

    @atomic
    def clear(self, user: UserId) -> None:
        """Remove the whole profile. Source: the forks, clear_profile_keys."""
        self._values.remove_prefix(_FIELD.prefix(user))
        for field in ("displayname", "avatar_url"):
            self._set_name(user, field, None)
