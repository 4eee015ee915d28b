"""The one counter, and the single rows that describe the store as a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from conduitstore.codec.keypairs import Keypair, pack_keypair, unpack_keypair
from conduitstore.codec.values import pack_text, pack_u64, unpack_text, unpack_u64
from conduitstore.errors import InvalidArgumentError
from conduitstore.kv import Transaction, check_tree_name, check_value
from conduitstore.parts.part import Near, Part, TreeOf, atomic, explained
from conduitstore.schema import TREES
from conduitstore.types import Count

_ROW = TREES["global"].key.pack
_COUNT = _ROW("c")
_VERSION = _ROW("version")
_LINEAGE = _ROW("lineage")
_MIGRATING = _ROW("migrating")
_UPDATE_CHECK = _ROW("u")
_KEYPAIR = _ROW("keypair")


class Globals(Part[Near]):
    """Tree: ``global``."""

    _rows = TreeOf("global")

    @atomic
    def next_count(self) -> Count:
        """Draw the next count; it is visible when the commit is.

        Source: Conduit, next_count. The engine keeps the counter; its value is written to Conduit's
        row ``c`` in the same commit, for whoever reads the trees.
        """
        return self.draw()

    def draw(self) -> Count:
        """:meth:`next_count` for an operation that is inside a transaction already."""
        count = cast("Transaction", self.keyspace).next_count()
        self._rows.put(_COUNT, pack_u64(count))
        return Count(count)

    def current_count(self) -> Count:
        """The newest visible count, the next sync's token. Source: Conduit, current_count."""
        return Count(self.keyspace.current_count())

    def lineage(self) -> str | None:
        """Whose schema the version counts, as the first migration wrote it."""
        value = self._rows.get(_LINEAGE)
        return None if value is None else unpack_text("global", value)

    def schema_version(self) -> int:
        """The number of the last migration applied, 0 before the first.

        Source: Conduit, database_version.
        """
        value = self._rows.get(_VERSION)
        return 0 if value is None else unpack_u64("global", value)

    def set_schema_version(self, version: int) -> None:
        """Record that a migration was applied. Source: Conduit, bump_database_version."""
        self._rows.put(_VERSION, pack_u64(version))

    def migration_cursor(self) -> tuple[str, bytes] | None:
        """How far the step after the schema version has come: the last row of a tree it did."""
        value = self._rows.get(_MIGRATING)
        if value is None:
            return None
        tree, _, key = unpack_text("global", value).partition(":")
        return tree, bytes.fromhex(key)

    @explained
    def set_migration_cursor(self, cursor: tuple[str, bytes] | None) -> None:
        """Record it; None where no step is under way."""
        if cursor is None:
            self._rows.put(_MIGRATING, None)
        else:
            tree, key = check_tree_name(cursor[0]), check_value(cursor[1])
            self._rows.put(_MIGRATING, pack_text(f"{tree}:{key.hex()}"))

    def last_update_check(self) -> int:
        """The id of the newest announcement that was shown; 0 before the first.

        Source: Conduit, last_check_for_updates_id.
        """
        value = self._rows.get(_UPDATE_CHECK)
        return 0 if value is None else unpack_u64("global", value)

    def set_last_update_check(self, id: int) -> None:
        """Note which announcement was shown. Source: Conduit, update_check_for_updates_id."""
        self._rows.put(_UPDATE_CHECK, pack_u64(id))

    # The server's own key -----------------------------------------------------------------------
    def keypair(self) -> Keypair | None:
        """The key this server signs with; None where there is none yet.

        Raises:
            CorruptedError: it is there and cannot be read. It stays where it is, for whoever mends
                it: another key would be another identity. Conduit deletes it.
        """
        value = self._rows.get(_KEYPAIR)
        return None if value is None else unpack_keypair(value)

    @atomic(durability="commit")
    def load_keypair(self, make: Callable[[], Keypair]) -> Keypair:
        """The key this server signs with: ``make()`` where there is none yet. On the platter.

        Source: Conduit, load_keypair.

        Raises:
            CorruptedError: as in :meth:`keypair`.
        """
        found = self.keypair()
        if found is None:
            found = make()
            self._rows.put(_KEYPAIR, pack_keypair(found))
        return found

    @atomic(durability="commit")
    def import_keypair(self, keypair: Keypair, *, replace: bool = False) -> None:
        """Sign with this key from now on. On the platter before it returns.

        ``keypair().to_text()`` exports it.

        Raises:
            InvalidArgumentError: there is another key, read or not, and no leave to replace it.
        """
        value = pack_keypair(keypair)
        if self._rows.insert(_KEYPAIR, value) not in (None, value) and not replace:
            raise InvalidArgumentError(
                "this server has another key, and with it another identity: export it first, then "
                "import with replace=True"
            )
