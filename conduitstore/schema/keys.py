"""Trees of end-to-end encryption, and the messages from device to device."""

from conduitstore.schema.tree import tree

_DEVICE = "user ff device:any"

KEYS = [
    tree("todeviceid_events", f"{_DEVICE} ff count:u64", "json", "to_device",
         "messages waiting for a device: type, sender, content",
         worth="primary", gone="the device's next sync, or its removal"),
]  # fmt: skip
