"""Short-lived tokens of a user: for a third party to ask who it is, and to log in once.

Both are random, and worth nothing after their time. An expired one is never found again; it is
removed when it is used or by :meth:`Tokens.forget_expired`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Protocol

from conduitstore.codec.keys import KeyShape, check_u64, encode_id
from conduitstore.errors import InvalidArgumentError
from conduitstore.kv import Tree
from conduitstore.parts.clock import now_ms
from conduitstore.parts.part import Near, Part, TreeOf, atomic
from conduitstore.schema import TREES
from conduitstore.types import LoginToken, OpenIdToken, UserId

OPENID_LIFETIME_MS = 60 * 60 * 1000
LOGIN_LIFETIME_MS = 2 * 60 * 1000

_TOKEN = TREES["openidtoken_expiresatuserid"].key.pack
_OPENID = TREES["openidtoken_expiresatuserid"].value_fields
_LOGIN = TREES["logintoken_expiresatuserid"].value_fields


class Accounts(Protocol):
    """What a token needs to know of its user."""

    def exists(self, user: UserId) -> bool: ...


class TokensNear(Near, Protocol):
    """The accounts that tokens are of."""

    @property
    def users(self) -> Accounts: ...


class Tokens(Part[TokensNear]):
    """Trees: ``openidtoken_expiresatuserid`` and ``logintoken_expiresatuserid``."""

    _openid = TreeOf("openidtoken_expiresatuserid")
    _login = TreeOf("logintoken_expiresatuserid")

    @atomic
    def create_openid(self, user: UserId, lifetime_ms: int = OPENID_LIFETIME_MS) -> OpenIdToken:
        """A token by which a third party can ask who the user is.

        Source: Conduit, create_openid_token.

        Raises:
            InvalidArgumentError: there is no such account.
        """
        return OpenIdToken(self._create(self._openid, _OPENID, user, lifetime_ms))

    def find_openid(self, token: OpenIdToken) -> UserId | None:
        """Whose token it is; None for an unknown or expired one.

        Source: Conduit, find_from_openid_token, which also removes the expired one.
        """
        return _valid(_OPENID, self._openid.get(_TOKEN(token)))

    @atomic
    def create_login(self, user: UserId, lifetime_ms: int = LOGIN_LIFETIME_MS) -> LoginToken:
        """A token that logs in once. Source: the forks, create_login_token.

        Raises:
            InvalidArgumentError: there is no such account.
        """
        return LoginToken(self._create(self._login, _LOGIN, user, lifetime_ms))

    @atomic(durability="commit")
    def use_login(self, token: LoginToken) -> UserId | None:
        """Whose token it was; None for one that is unknown, expired or used.

        It is gone from the platter before this returns. Source: the forks, find_from_login_token.
        """
        return _valid(_LOGIN, self._login.remove(_TOKEN(token)))

    @atomic
    def forget_expired(self) -> int:
        """Drop what has expired; gives how many tokens. Cost: one pass over all there are."""
        return self._drop(lambda expires_ms, _: expires_ms <= now_ms())

    @atomic(durability="commit")
    def forget_user(self, user: UserId) -> int:
        """Drop a user's tokens; gives how many. Cost: one pass over all there are."""
        encode_id(user)
        return self._drop(lambda _, owner: owner == user)

    def _create(self, tree: Tree, value: KeyShape, user: UserId, lifetime_ms: int) -> str:
        if not self._near.users.exists(user):
            raise InvalidArgumentError(f"there is no account {user}")
        token = secrets.token_urlsafe(32)
        tree.put(_TOKEN(token), value.pack(now_ms() + check_u64(lifetime_ms), user))
        return token

    def _drop(self, is_gone: Callable[[int, UserId], bool]) -> int:
        dropped = 0
        for tree, shape in ((self._openid, _OPENID), (self._login, _LOGIN)):
            gone = [key for key, value in tree if is_gone(*shape.unpack(value))]
            for key in gone:
                tree.put(key, None)
            dropped += len(gone)
        return dropped


def _valid(shape: KeyShape, value: bytes | None) -> UserId | None:
    if value is None:
        return None
    expires_ms, user = shape.unpack(value)
    return user if now_ms() < expires_ms else None
