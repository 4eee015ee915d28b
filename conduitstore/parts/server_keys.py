"""The keys that other servers sign with, the current ones and those of before."""

from __future__ import annotations

from conduitstore.codec.keys import check_u64
from conduitstore.codec.values import pack_json, unpack_json_object
from conduitstore.errors import CorruptedError, InvalidArgumentError
from conduitstore.parts.part import Near, Part, TreeOf, atomic
from conduitstore.schema import TREES
from conduitstore.types import JsonObject, ServerName

_SERVER = TREES["server_signingkeys"].key.pack
_MAPS = ("verify_keys", "old_verify_keys")


class ServerKeys(Part[Near]):
    """Tree: ``server_signingkeys``. Our own key pair is in the globals part.

    Keys are objects as servers publish them: ``server_name``, ``verify_keys`` and
    ``old_verify_keys`` by key id, ``valid_until_ts``, ``signatures``; checked by the caller. A row
    that cannot be read counts as none: the server can be asked again.
    """

    _rows = TreeOf("server_signingkeys")

    @atomic
    def add_from_trusted_server(self, server: ServerName, keys: JsonObject) -> JsonObject:
        """Add what a notary says of a server; gives what is known now.

        Nothing known is removed or changed by it, and ``valid_until_ts`` only rises. A key that is
        known to be old stays old: the notary may have asked before the server changed its keys.
        Source: Conduit, add_signing_key_from_trusted_server, which makes such a key current again.
        """
        new, old = _checked(keys), self.of(server)
        if old is not None:
            current = new["verify_keys"].items()
            still = {id: key for id, key in current if id not in old["old_verify_keys"]}
            new = {
                **new,
                "verify_keys": {**still, **old["verify_keys"]},
                "old_verify_keys": {**new["old_verify_keys"], **old["old_verify_keys"]},
                "valid_until_ts": max(new["valid_until_ts"], old["valid_until_ts"]),
            }
        return self._store(server, new)

    @atomic
    def add_from_origin(self, server: ServerName, keys: JsonObject) -> JsonObject:
        """Take over what a server says of itself; gives what is known now.

        Its current keys are those it names. One that it no longer names becomes an old key, which
        expired when its last answer did.
        Source: Conduit, add_signing_key_from_origin.
        """
        new, old = _checked(keys), self.of(server)
        if old is not None:
            retired = {
                key_id: {**key, "expired_ts": old["valid_until_ts"]}
                for key_id, key in old["verify_keys"].items()
                if key_id not in new["verify_keys"]
            }
            olds = {**old["old_verify_keys"], **retired, **new["old_verify_keys"]}
            new = {**new, "old_verify_keys": olds}
        return self._store(server, new)

    def _store(self, server: ServerName, keys: JsonObject) -> JsonObject:
        self._rows.put(_SERVER(server), pack_json(keys))
        return keys

    def of(self, server: ServerName) -> JsonObject | None:
        """What is known of a server's keys; None where nothing is, or nothing that can be read.

        Source: Conduit, signing_keys_for.
        """
        value = self._rows.get(_SERVER(server))
        try:
            return None if value is None else _checked(unpack_json_object("", value))
        except (CorruptedError, InvalidArgumentError):
            return None

    def forget(self, server: ServerName) -> bool:
        """Forget a server's keys; gives whether any were known. They can be fetched again."""
        return self._rows.remove(_SERVER(server)) is not None


def _checked(keys: JsonObject) -> JsonObject:
    """``keys`` with each field that is read here, of the type it must have."""
    if not isinstance(keys, dict):
        raise InvalidArgumentError(f"a server's keys are an object, not {type(keys).__name__}")
    whole = {"old_verify_keys": {}, **keys}
    for name in _MAPS:
        found = whole.get(name)
        if not isinstance(found, dict) or not all(isinstance(k, dict) for k in found.values()):
            raise InvalidArgumentError(f"{name} is an object of keys by their ids")
    check_u64(whole.get("valid_until_ts", -1))
    return whole
