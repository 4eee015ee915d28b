"""All parts over one keyspace: what a store, a snapshot's view and a transaction have in common."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from conduitstore.kv import Durability, Keyspace
from conduitstore.parts.account_data import AccountData
from conduitstore.parts.appservices import Appservices
from conduitstore.parts.backoff import Backoff
from conduitstore.parts.beside import Beside
from conduitstore.parts.dehydrated_devices import DehydratedDevices
from conduitstore.parts.devices import Devices
from conduitstore.parts.filters import Filters
from conduitstore.parts.globals import Globals
from conduitstore.parts.key_backups import KeyBackups
from conduitstore.parts.key_changes import KeyChanges
from conduitstore.parts.keys import Keys
from conduitstore.parts.media.blocks import Blocks
from conduitstore.parts.media.contents import Contents
from conduitstore.parts.media.files import Files
from conduitstore.parts.media.pending import Pending
from conduitstore.parts.media.previews import Previews
from conduitstore.parts.media.retention import Retention
from conduitstore.parts.media.thumbnails import Thumbnails
from conduitstore.parts.media.uploaders import Uploaders
from conduitstore.parts.one_time_keys import OneTimeKeys
from conduitstore.parts.part import Part, once
from conduitstore.parts.presence import Presences
from conduitstore.parts.profiles import Profiles
from conduitstore.parts.pushers import Pushers
from conduitstore.parts.refresh_tokens import RefreshTokens
from conduitstore.parts.restrictions import Restrictions
from conduitstore.parts.rooms.alias import Alias
from conduitstore.parts.rooms.append import Append
from conduitstore.parts.rooms.auth_chain import AuthChain
from conduitstore.parts.rooms.directory import Directory
from conduitstore.parts.rooms.indexes import Indexes
from conduitstore.parts.rooms.lazy_loading import LazyLoading
from conduitstore.parts.rooms.members import Members
from conduitstore.parts.rooms.metadata import Metadata
from conduitstore.parts.rooms.originals import Originals
from conduitstore.parts.rooms.pdu_metadata import PduMetadata
from conduitstore.parts.rooms.receipts import Receipts
from conduitstore.parts.rooms.retention import MessageRetention
from conduitstore.parts.rooms.search import Search
from conduitstore.parts.rooms.sharing import Sharing
from conduitstore.parts.rooms.short import Short
from conduitstore.parts.rooms.state import State
from conduitstore.parts.rooms.state_accessor import StateAccessor
from conduitstore.parts.rooms.state_compressor import StateCompressor
from conduitstore.parts.rooms.threads import Threads
from conduitstore.parts.rooms.timeline import Timeline
from conduitstore.parts.rooms.timestamps import Timestamps
from conduitstore.parts.rooms.user_counters import UserCounters
from conduitstore.parts.sending import Sending
from conduitstore.parts.server_keys import ServerKeys
from conduitstore.parts.to_device import ToDevice
from conduitstore.parts.tokens import Tokens
from conduitstore.parts.transaction_ids import TransactionIds
from conduitstore.parts.uiaa import Uiaa
from conduitstore.parts.users import Users

T = TypeVar("T")
P = TypeVar("P", bound=Part[Any])


class PartOf(once[P]):
    """A part of a holder, made when it is first asked for and then a plain attribute."""

    def __init__(self, kind: type[P]) -> None:
        self.kind = kind
        super().__init__(lambda holder: kind(holder.keyspace, partial(Parts, beside=holder.beside)))


class Holder:
    """Parts over one keyspace.

    Args:
        beside: what the store has that is in no tree, the same for all its keyspaces.
    """

    def __init__(self, keyspace: Keyspace, beside: Beside) -> None:
        self.keyspace = keyspace
        self.beside = beside


class Rooms(Holder):
    """The parts of rooms."""

    short = PartOf(Short)
    timeline = PartOf(Timeline)
    members = PartOf(Members)
    receipts = PartOf(Receipts)
    append = PartOf(Append)
    auth_chain = PartOf(AuthChain)
    sharing = PartOf(Sharing)
    state = PartOf(State)
    state_accessor = PartOf(StateAccessor)
    state_compressor = PartOf(StateCompressor)
    user_counters = PartOf(UserCounters)
    alias = PartOf(Alias)
    directory = PartOf(Directory)
    metadata = PartOf(Metadata)
    lazy_loading = PartOf(LazyLoading)
    indexes = PartOf(Indexes)
    search = PartOf(Search)
    timestamps = PartOf(Timestamps)
    pdu_metadata = PartOf(PduMetadata)
    threads = PartOf(Threads)
    originals = PartOf(Originals)
    retention = PartOf(MessageRetention)


class Media(Holder):
    """The parts of media."""

    files = PartOf(Files)
    thumbnails = PartOf(Thumbnails)
    uploaders = PartOf(Uploaders)
    contents = PartOf(Contents)
    blocks = PartOf(Blocks)
    retention = PartOf(Retention)
    pending = PartOf(Pending)
    previews = PartOf(Previews)


class Parts(Holder):
    """All parts over one keyspace."""

    globals = PartOf(Globals)
    users = PartOf(Users)
    profiles = PartOf(Profiles)
    restrictions = PartOf(Restrictions)
    tokens = PartOf(Tokens)
    filters = PartOf(Filters)
    devices = PartOf(Devices)
    refresh_tokens = PartOf(RefreshTokens)
    dehydrated_devices = PartOf(DehydratedDevices)
    keys = PartOf(Keys)
    key_changes = PartOf(KeyChanges)
    one_time_keys = PartOf(OneTimeKeys)
    key_backups = PartOf(KeyBackups)
    to_device = PartOf(ToDevice)
    account_data = PartOf(AccountData)
    server_keys = PartOf(ServerKeys)
    sending = PartOf(Sending)
    backoff = PartOf(Backoff)
    appservices = PartOf(Appservices)
    pushers = PartOf(Pushers)
    transaction_ids = PartOf(TransactionIds)
    uiaa = PartOf(Uiaa)
    presence = PartOf(Presences)

    def __init__(self, keyspace: Keyspace, beside: Beside | None = None) -> None:
        super().__init__(keyspace, Beside() if beside is None else beside)

    @once
    def rooms(self) -> Rooms:
        return Rooms(self.keyspace, self.beside)

    @once
    def media(self) -> Media:
        return Media(self.keyspace, self.beside)

    def transaction(
        self,
        fn: Callable[[Parts], T],
        *,
        durability: Durability | None = None,
        read_only: bool = False,
    ) -> T:
        """Run ``fn(tx)``, where ``tx`` has all parts; what they write is one commit.

        Inside a transaction this one joins, and an exception that leaves ``fn`` takes back what
        ``fn`` wrote. A distributed engine may run ``fn`` again: touch nothing but ``tx``.
        """
        return self.keyspace.transaction(
            lambda tx: fn(Parts(tx, self.beside)), durability=durability, read_only=read_only
        )
