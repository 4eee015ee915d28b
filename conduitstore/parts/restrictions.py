"""What moderators put on accounts, and the wish to be forgotten.

A suspended account may only read, a locked one can do nothing until it is unlocked, one without
login keeps the devices it has. What follows from each is the homeserver's to enforce.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from conduitstore.codec.values import EMPTY, pack_json, pack_u64, unpack_json_object, unpack_u64
from conduitstore.errors import InvalidArgumentError, shown
from conduitstore.kv import Tree
from conduitstore.parts.clock import now_ms
from conduitstore.parts.part import Near, Part, TreeOf, atomic
from conduitstore.schema import TREES
from conduitstore.types import Count, UserId

Kind = Literal["suspended", "locked"]

_USER = TREES["userid_suspended"].key.pack


@dataclass(frozen=True, slots=True)
class Restriction:
    """A suspension or a lock.

    Attributes:
        when_ms: since when, Unix milliseconds.
        by: who imposed it.
    """

    when_ms: int
    by: UserId


class Accounts(Protocol):
    """What a restriction needs to know of its user."""

    def exists(self, user: UserId) -> bool: ...


class RestrictionsNear(Near, Protocol):
    """The accounts to be restricted."""

    @property
    def users(self) -> Accounts: ...


class Restrictions(Part[RestrictionsNear]):
    """Trees: ``userid_suspended``, ``userid_locked``, ``userid_logindisabled``, ``userid_erased``.

    Every change is on the platter before it returns.
    """

    _suspended = TreeOf("userid_suspended")
    _locked = TreeOf("userid_locked")
    _login_disabled = TreeOf("userid_logindisabled")
    _erased = TreeOf("userid_erased")

    def _tree(self, kind: Kind) -> Tree:
        if kind == "suspended":
            return self._suspended
        if kind == "locked":
            return self._locked
        raise InvalidArgumentError(f"an account is suspended or locked, not {shown(kind)}")

    @atomic(durability="commit")
    def impose(self, user: UserId, kind: Kind, by: UserId) -> None:
        """Suspend or lock an account. Source: the forks, suspend_account and lock_account.

        Raises:
            InvalidArgumentError: there is no such account.
        """
        tree = self._tree(kind)
        _USER(by)  # Somebody, too.
        value = pack_json({"when": now_ms(), "by": by})
        tree.put(self._account(user), value)

    @atomic(durability="commit")
    def lift(self, user: UserId, kind: Kind) -> bool:
        """End a suspension or a lock; False if there was none.

        Source: the forks, unsuspend_account and unlock_account.
        """
        return self._tree(kind).remove(_USER(user)) is not None

    def get(self, user: UserId, kind: Kind) -> Restriction | None:
        """The suspension or lock of an account. Source: the forks, is_suspended and is_locked."""
        tree = self._tree(kind)
        value = tree.get(_USER(user))
        if value is None:
            return None
        found = unpack_json_object(tree.name, value, "when", "by")
        return Restriction(found["when"], found["by"])

    @atomic(durability="commit")
    def disable_login(self, user: UserId) -> None:
        """Let nobody log in to the account anew. Source: continuwuity, disable_login.

        Raises:
            InvalidArgumentError: there is no such account.
        """
        self._login_disabled.put(self._account(user), EMPTY)

    @atomic(durability="commit")
    def enable_login(self, user: UserId) -> None:
        """Undo :meth:`disable_login`. Source: continuwuity, enable_login."""
        self._login_disabled.put(_USER(user), None)

    def is_login_disabled(self, user: UserId) -> bool:
        """Whether nobody may log in. Source: continuwuity, is_login_disabled."""
        return self._login_disabled.contains_key(_USER(user))

    @atomic(durability="commit")
    def erase(self, user: UserId) -> Count:
        """Note the wish that the user's events be hidden from whoever was not there yet.

        Gives the count of it, which orders it against events; a wish already noted keeps its own.
        The tree is tuwunel's.

        Raises:
            InvalidArgumentError: there is no such account.
        """
        key, before = self._account(user), self.erased_at(user)
        if before is not None:
            return before
        count = self._near.globals.draw()
        self._erased.put(key, pack_u64(count))
        return count

    def erased_at(self, user: UserId) -> Count | None:
        """Since when the user's events are to be hidden."""
        value = self._erased.get(_USER(user))
        return None if value is None else Count(unpack_u64("userid_erased", value))

    @atomic(durability="commit")
    def unerase(self, user: UserId) -> None:
        """Take the wish back."""
        self._erased.put(_USER(user), None)

    def _account(self, user: UserId) -> bytes:
        if not self._near.users.exists(user):
            raise InvalidArgumentError(f"there is no account {user}")
        return _USER(user)
