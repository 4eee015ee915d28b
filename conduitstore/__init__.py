"""The data layer of a Matrix homeserver: an ordered key-value engine and typed parts over it.

    store = conduitstore.open(path)
    store.users.create("@a:example.org", password_hash)

``conduitstore.engine`` is the engine alone, ``conduitstore.types`` the ids and records, and
``conduitstore.errors`` what can go wrong.
"""

from conduitstore.errors import (
    ClosedError,
    ConduitStoreError,
    ConflictError,
    CorruptedError,
    InvalidArgumentError,
    LaggedError,
    LockedError,
    PoisonedError,
    StoreFullError,
    UnsupportedFormatError,
)
from conduitstore.parts.holder import Parts
from conduitstore.store import Store, View, open, upgrade  # noqa: A004 - as in conduitstore.open
from conduitstore.version import VERSION

__version__ = VERSION

__all__ = [
    "ClosedError",
    "ConduitStoreError",
    "ConflictError",
    "CorruptedError",
    "InvalidArgumentError",
    "LaggedError",
    "LockedError",
    "Parts",
    "PoisonedError",
    "Store",
    "StoreFullError",
    "UnsupportedFormatError",
    "View",
    "__version__",
    "open",
    "upgrade",
]
