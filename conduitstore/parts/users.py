"""Accounts and profiles. Local and remote users alike: telling them apart is the homeserver's."""

from __future__ import annotations

from typing import Literal, Protocol, get_args

from conduitstore.codec.values import EMPTY, pack_text, unpack_text
from conduitstore.errors import InvalidArgumentError, shown
from conduitstore.kv import Tree, check_limit
from conduitstore.parts.part import Near, Part, TreeOf, atomic
from conduitstore.schema import TREES
from conduitstore.types import DeviceId, JsonObject, RoomId, UserId

Origin = Literal["password", "ldap", "sso"]
"""How an account logs in."""

NO_PASSWORD = "*"  # noqa: S105 - it is the absence of one
"""Stands for the hash of an account that logs in by other means; no hash is equal to it."""

_USER = TREES["userid_password"].key


class DeviceList(Protocol):
    """What an account needs to know of devices."""

    def ids(self, user: UserId) -> list[DeviceId]: ...
    def remove(self, user: UserId, device: DeviceId) -> bool: ...


class Belongings(Protocol):
    """A part that keeps something for each account."""

    def forget_user(self, user: UserId) -> object: ...


class MediaNear(Protocol):
    """What is kept of media for each account."""

    @property
    def pending(self) -> Belongings: ...


class Signs(Protocol):
    """Who is there."""

    def remove(self, user: UserId) -> bool: ...


class Settings(Protocol):
    """What users have set for themselves."""

    def get(self, room: RoomId | None, user: UserId, type: str) -> JsonObject | None: ...


class UsersNear(Near, Protocol):
    """Users and devices need each other, so each finds the other here when it comes to that."""

    @property
    def devices(self) -> DeviceList: ...
    @property
    def tokens(self) -> Belongings: ...
    @property
    def filters(self) -> Belongings: ...
    @property
    def pushers(self) -> Belongings: ...
    @property
    def transaction_ids(self) -> Belongings: ...
    @property
    def uiaa(self) -> Belongings: ...
    @property
    def media(self) -> MediaNear: ...
    @property
    def presence(self) -> Signs: ...
    @property
    def account_data(self) -> Settings: ...


class Users(Part[UsersNear]):
    """Trees: ``userid_password``; ``userid_displayname``, ``_avatarurl`` and ``_blurhash``.

    A row in ``userid_password`` is the account; empty means that nobody can log in. Also
    ``userid_origin`` and ``remoteuserid_remoteuser``.
    """

    _passwords = TreeOf("userid_password")
    _displaynames = TreeOf("userid_displayname")
    _avatar_urls = TreeOf("userid_avatarurl")
    _blurhashes = TreeOf("userid_blurhash")
    _origins = TreeOf("userid_origin")
    _remotes = TreeOf("remoteuserid_remoteuser")

    @atomic
    def create(
        self, user: UserId, password_hash: str | None, *, origin: Origin | None = None
    ) -> None:
        """Make an account; without a password hash nobody can log in, as for a remote user.

        One with a password is on the platter before this returns. One that logs in by other means
        has :data:`NO_PASSWORD` for its hash, and an ``origin``.

        Source: Conduit, set_password.

        Raises:
            InvalidArgumentError: the account exists; nothing is overwritten.
        """
        if self._passwords.insert(_USER.pack(user), EMPTY) is not None:
            raise InvalidArgumentError(f"the account {user} exists already")
        if origin is not None:
            self.set_origin(user, origin)
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
        value = EMPTY if password_hash is None else pack_text(password_hash)
        if self._passwords.insert(_USER.pack(user), value) is None:
            raise InvalidArgumentError(f"there is no account {user}")

    @atomic(durability="commit")
    def deactivate(self, user: UserId) -> None:
        """Have nobody log in to the account again, and forget what only a login is good for.

        That is devices with all they have, tokens, filters, pushers, answers to requests, sessions
        of interactive authentication, reservations of media ids and presence. What others see of
        the user stays, and so does what is no use to anybody else but might be again to the user:
        account data and key backups. All of it is one commit, and on the platter before this
        returns.

        Raises:
            InvalidArgumentError: there is no such account.
        """
        self.set_password(user, None)
        for device in self._near.devices.ids(user):
            self._near.devices.remove(user, device)
        near = self._near
        for part in (
            near.tokens,
            near.filters,
            near.pushers,
            near.transaction_ids,
            near.uiaa,
            near.media.pending,
        ):
            part.forget_user(user)
        near.presence.remove(user)

    def is_active(self, user: UserId) -> bool:
        """Whether there is an account that somebody can log in to.

        Source: the forks, is_active_local: an account of another server has no password here.
        """
        return bool(self.password_hash(user))

    def has_password(self, user: UserId) -> bool:
        """Whether a password opens the account. Source: tuwunel, has_password."""
        return self.password_hash(user) not in (None, "", NO_PASSWORD)

    def origin(self, user: UserId) -> Origin | None:
        """How the account logs in; None where nobody said. Source: tuwunel, origin."""
        found = _text(self._origins, user)
        return next((origin for origin in get_args(Origin) if origin == found), None)

    def set_origin(self, user: UserId, origin: Origin) -> None:
        """Say how the account logs in. Source: tuwunel, set_origin."""
        if origin not in get_args(Origin):
            raise InvalidArgumentError(
                f"an origin is one of {get_args(Origin)}, not {shown(origin)}"
            )
        self._origins.put(_USER.pack(user), pack_text(origin))

    def total(self) -> int:
        """How many accounts there are, remote users included. Source: Conduit, count."""
        return len(self._passwords)

    def all(self) -> list[UserId]:
        """Every account, in the order of ids. Source: Conduit, iter."""
        return [_USER.unpack(key)[0] for key in self._passwords.keys()]  # noqa: SIM118 - reads no values

    def page(self, after: UserId | None, limit: int) -> list[UserId]:
        """Up to ``limit`` accounts behind ``after``, in the order of ids: to go through them all.

        Cost: O(limit). Source: the forks, stream.
        """
        lo = None if after is None else _USER.pack(after) + b"\0"
        found = self._passwords.range(lo, limit=check_limit(limit))
        return [_USER.unpack(key)[0] for key, _ in found]

    def local(self) -> list[UserId]:
        """Every account that can log in. Source: Conduit, list_local_users."""
        return [_USER.unpack(key)[0] for key, password in self._passwords if password]

    def devices(self, user: UserId) -> list[DeviceId]:
        """The user's device ids. Source: Conduit, all_device_ids."""
        return self._near.devices.ids(user)

    def ignores(self, user: UserId, sender: UserId) -> bool:
        """Whether ``user`` does not want to hear from ``sender``.

        Source: the forks, user_is_ignored.
        """
        content = self._near.account_data.get(None, user, "m.ignored_user_list") or {}
        ignored = content.get("ignored_users")
        return isinstance(ignored, dict) and sender in ignored

    # Users of other servers ---------------------------------------------------------------------
    def note_remote(self, user: UserId) -> None:
        """Note a user of another server, without making an account.

        The tree is continuwuity's.
        """
        key = _USER.pack(user)
        if not self._remotes.contains_key(key):  # Most were seen before: no commit for nothing.
            self._remotes.put(key, EMPTY)

    def is_remote(self, user: UserId) -> bool:
        """Whether the user was noted as one of another server."""
        return self._remotes.contains_key(_USER.pack(user))

    def forget_remote(self, user: UserId) -> bool:
        """Undo :meth:`note_remote`; False where there was nothing."""
        return self._remotes.remove(_USER.pack(user)) is not None

    # Profile -------------------------------------------------------------------------------------
    def displayname(self, user: UserId) -> str | None:
        """The name the user shows; None for none. Source: Conduit, displayname."""
        return _text(self._displaynames, user)

    def set_displayname(self, user: UserId, text: str | None) -> None:
        """Replace it, or remove it with None. Source: Conduit, set_displayname."""
        _set(self._displaynames, user, text)

    def avatar_url(self, user: UserId) -> str | None:
        """The user's picture, as an ``mxc://`` address. Source: Conduit, avatar_url."""
        return _text(self._avatar_urls, user)

    def set_avatar_url(self, user: UserId, text: str | None) -> None:
        """Replace it, or remove it with None. Source: Conduit, set_avatar_url."""
        _set(self._avatar_urls, user, text)

    def blurhash(self, user: UserId) -> str | None:
        """A blurred preview of the picture. Source: Conduit, blurhash."""
        return _text(self._blurhashes, user)

    def set_blurhash(self, user: UserId, text: str | None) -> None:
        """Replace it, or remove it with None. Source: Conduit, set_blurhash."""
        _set(self._blurhashes, user, text)


def _text(tree: Tree, user: UserId) -> str | None:
    value = tree.get(_USER.pack(user))
    return None if value is None else unpack_text(tree.name, value)


def _set(tree: Tree, user: UserId, text: str | None) -> None:
    if text is None:
        tree.put(_USER.pack(user), None)
    else:
        tree.put(_USER.pack(user), pack_text(text))
