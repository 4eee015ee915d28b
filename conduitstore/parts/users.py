"""Accounts and profiles. Local and remote users alike: telling them apart is the homeserver's."""

from __future__ import annotations

from typing import Protocol

from conduitstore.codec.values import EMPTY, pack_text, unpack_text
from conduitstore.errors import InvalidArgumentError
from conduitstore.kv import Tree
from conduitstore.parts.part import Near, Part, TreeOf, atomic
from conduitstore.schema import TREES
from conduitstore.types import DeviceId, UserId

_USER = TREES["userid_password"].key


class DeviceList(Protocol):
    """What an account needs to know of devices."""

    def ids(self, user: UserId) -> list[DeviceId]: ...


class UsersNear(Near, Protocol):
    """Users and devices need each other, so each finds the other here when it comes to that."""

    @property
    def devices(self) -> DeviceList: ...


class Users(Part[UsersNear]):
    """Trees: ``userid_password``; ``userid_displayname``, ``_avatarurl`` and ``_blurhash``.

    A row in ``userid_password`` is the account; empty means that nobody can log in.
    """

    _passwords = TreeOf("userid_password")
    _displaynames = TreeOf("userid_displayname")
    _avatar_urls = TreeOf("userid_avatarurl")
    _blurhashes = TreeOf("userid_blurhash")

    @atomic
    def create(self, user: UserId, password_hash: str | None) -> None:
        """Make an account; without a password hash nobody can log in, as for a remote user.

        One with a password is on the platter before this returns.

        Source: Conduit, set_password.

        Raises:
            InvalidArgumentError: the account exists; nothing is overwritten.
        """
        if self._passwords.insert(_USER.pack(user), EMPTY) is not None:
            raise InvalidArgumentError(f"the account {user} exists already")
        if password_hash is not None:
            self.set_password(user, password_hash)

    def exists(self, user: UserId) -> bool:
        """Whether there is an account, deactivated or not. Source: Conduit, exists."""
        return self._passwords.contains_key(_USER.pack(user))

    def is_deactivated(self, user: UserId) -> bool:
        """Whether there is an account that nobody can log in to; False for an unknown user.

        Source: Conduit, is_deactivated, which fails for unknown users.
        """
        return self.password_hash(user) == ""

    def password_hash(self, user: UserId) -> str | None:
        """The hash; empty when nobody can log in, None for an unknown user.

        Source: Conduit, password_hash.
        """
        return _text(self._passwords, user)

    @atomic(durability="commit")
    def set_password(self, user: UserId, password_hash: str | None) -> None:
        """Replace the password hash; None deactivates. On the platter before it returns.

        Source: Conduit, set_password.

        Raises:
            InvalidArgumentError: there is no such account.
        """
        if self._passwords.insert(_USER.pack(user), pack_text(password_hash or "")) is None:
            raise InvalidArgumentError(f"there is no account {user}")

    def total(self) -> int:
        """How many accounts there are, remote users included. Source: Conduit, count."""
        return len(self._passwords)

    def all(self) -> list[UserId]:
        """Every account, in the order of ids. Source: Conduit, iter."""
        return [_USER.unpack(key)[0] for key in self._passwords.keys()]  # noqa: SIM118 - reads no values

    def local(self) -> list[UserId]:
        """Every account that can log in. Source: Conduit, list_local_users."""
        return [_USER.unpack(key)[0] for key, password in self._passwords if password]

    def devices(self, user: UserId) -> list[DeviceId]:
        """The user's device ids. Source: Conduit, all_device_ids."""
        return self._near.devices.ids(user)

    # Profile: None stands for "none", both ways. Source: Conduit, the operations of these names.
    def displayname(self, user: UserId) -> str | None:
        return _text(self._displaynames, user)

    def set_displayname(self, user: UserId, text: str | None) -> None:
        _set(self._displaynames, user, text)

    def avatar_url(self, user: UserId) -> str | None:
        return _text(self._avatar_urls, user)

    def set_avatar_url(self, user: UserId, text: str | None) -> None:
        _set(self._avatar_urls, user, text)

    def blurhash(self, user: UserId) -> str | None:
        return _text(self._blurhashes, user)

    def set_blurhash(self, user: UserId, text: str | None) -> None:
        _set(self._blurhashes, user, text)


def _text(tree: Tree, user: UserId) -> str | None:
    value = tree.get(_USER.pack(user))
    return None if value is None else unpack_text(tree.name, value)


def _set(tree: Tree, user: UserId, text: str | None) -> None:
    if text is None:
        tree.remove(_USER.pack(user))
    else:
        tree.insert(_USER.pack(user), pack_text(text))
