"""Refresh tokens: each is used once, for the next pair of tokens, and a second use is noticed.

- A device has one refresh token and at most one spent: the one before.
- Whoever presents the spent one again is either a client that did not hear the answer, or a thief.
  :meth:`RefreshTokens.classify` tells what took its place and when; the homeserver decides, and
  ends it with ``devices.remove_tokens``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from conduitstore.codec.values import pack_text, unpack_text
from conduitstore.errors import InvalidArgumentError, shown
from conduitstore.kv import Tree
from conduitstore.parts.clock import now_ms
from conduitstore.parts.part import Near, Part, TreeOf, atomic, consistent
from conduitstore.schema import TREES
from conduitstore.types import DeviceId, RefreshToken, UserId

_DEVICE = TREES["userdeviceid_refresh"].key.pack
_TOKEN = TREES["refreshtoken_userdeviceid"].key.pack
_OWNER = TREES["refreshtoken_userdeviceid"].value_fields
_SPENT = TREES["spentrefresh_userdeviceid"].value_fields


@dataclass(frozen=True, slots=True)
class KnownRefreshToken:
    """What is known of a refresh token.

    Attributes:
        successor: of a spent one, what took its place; None for the current one.
        spent_ms: when that was, Unix milliseconds.
    """

    user: UserId
    device: DeviceId
    successor: RefreshToken | None = None
    spent_ms: int | None = None


class DevicesThere(Protocol):
    """What refresh tokens need to know of devices."""

    def exists(self, user: UserId, device: DeviceId) -> bool: ...
    def id_of(self, user: UserId, device: DeviceId) -> DeviceId | None: ...


class RefreshTokensNear(Near, Protocol):
    """The devices that have the tokens."""

    @property
    def devices(self) -> DevicesThere: ...


class RefreshTokens(Part[RefreshTokensNear]):
    """Trees: ``userdeviceid_refresh`` and ``userdeviceid_spentrefresh``, and one by token for each.

    A token has 1 to 255 bytes.
    """

    _current = TreeOf("userdeviceid_refresh")
    _owners = TreeOf("refreshtoken_userdeviceid")
    _last_spent = TreeOf("userdeviceid_spentrefresh")
    _spent = TreeOf("spentrefresh_userdeviceid")

    @atomic(durability="commit")
    def set(self, user: UserId, device: DeviceId, token: RefreshToken) -> None:
        """Give a device its first refresh token; those it had are dead before this returns.

        Source: tuwunel, set_refresh_token.

        Raises:
            InvalidArgumentError: no such device, or the token was given out before.
        """
        if not self._near.devices.exists(user, device):
            raise InvalidArgumentError(f"{user} has no device {shown(device)}")
        self.forget_device(user, device)
        self._check_new(token)
        self._give(user, device, token)

    @atomic(durability="commit")
    def spend(self, token: RefreshToken, successor: RefreshToken) -> KnownRefreshToken | None:
        """Put ``successor`` in the place of a current token; gives whose it is.

        None, and no change, for one that is not current. On the platter before it returns.

        Raises:
            InvalidArgumentError: the successor was given out before.
        """
        owner = self.classify(token)
        if owner is None or owner.successor is not None:
            return None
        self._check_new(successor)
        user, device = owner.user, owner.device
        self._remove(user, device, self._last_spent, self._spent)
        self._remove(user, device, self._current, self._owners)
        self._give(user, device, successor)
        self._last_spent.put(_DEVICE(user, device), pack_text(token))
        self._spent.put(_TOKEN(token), _SPENT.pack(user, device, successor, now_ms()))
        return owner

    @consistent
    def classify(self, token: RefreshToken) -> KnownRefreshToken | None:
        """Whether a token is current or spent; None for any other.

        Source: tuwunel, classify_refresh_token.
        """
        value = self._owners.get(_TOKEN(token))
        if value is not None:
            return self._known(*_OWNER.unpack(value))
        value = self._spent.get(_TOKEN(token))
        return None if value is None else self._known(*_SPENT.unpack(value))

    def _known(
        self,
        user: UserId,
        device: DeviceId,
        successor: RefreshToken | None = None,
        spent_ms: int | None = None,
    ) -> KnownRefreshToken | None:
        whole = self._near.devices.id_of(user, device)
        return None if whole is None else KnownRefreshToken(user, whole, successor, spent_ms)

    def current(self, user: UserId, device: DeviceId) -> RefreshToken | None:
        """The device's refresh token."""
        value = self._current.get(_DEVICE(user, device))
        return None if value is None else RefreshToken(unpack_text("userdeviceid_refresh", value))

    @atomic(durability="commit")
    def forget_device(self, user: UserId, device: DeviceId) -> bool:
        """Drop a device's refresh tokens; False if it has none."""
        had_spent = self._remove(user, device, self._last_spent, self._spent)
        return self._remove(user, device, self._current, self._owners) or had_spent

    def _check_new(self, token: RefreshToken) -> None:
        key = _TOKEN(token)
        if self._owners.contains_key(key) or self._spent.contains_key(key):
            raise InvalidArgumentError("this refresh token was given out before")

    def _give(self, user: UserId, device: DeviceId, token: RefreshToken) -> None:
        self._owners.put(_TOKEN(token), _OWNER.pack(user, device))
        self._current.put(_DEVICE(user, device), pack_text(token))

    def _remove(self, user: UserId, device: DeviceId, by_device: Tree, by_token: Tree) -> bool:
        value = by_device.remove(_DEVICE(user, device))
        if value is not None:
            by_token.remove(_TOKEN(unpack_text(by_device.name, value)))
        return value is not None
