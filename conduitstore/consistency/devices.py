"""Devices that another tree says there are."""

from __future__ import annotations

from collections.abc import Iterator

from conduitstore.codec.values import unpack_json_object
from conduitstore.errors import ConduitStoreError
from conduitstore.kv import Keyspace
from conduitstore.schema import TREES

from .findings import Finding
from .rows import rows

_DEVICE = TREES["userdeviceid_metadata"].key


def dehydrated_without_device(view: Keyspace) -> Iterator[Finding]:
    """Dehydrated devices that are no devices."""
    devices = view.open_tree("userdeviceid_metadata")
    for row in rows(view, "userid_dehydrateddevice"):
        try:
            found = unpack_json_object("userid_dehydrateddevice", row["value"], "device_id")
            key = _DEVICE.pack(row["user"].decode(), found["device_id"])
        except (ConduitStoreError, UnicodeDecodeError):
            continue
        if not devices.contains_key(key):
            yield Finding("userid_dehydrateddevice", row["key"], f"there is no device {key!r}")
