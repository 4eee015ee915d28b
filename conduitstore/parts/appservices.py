"""The registrations of application services, as the text their files have."""

from __future__ import annotations

from typing import Protocol

from conduitstore.codec.values import pack_text, unpack_text
from conduitstore.errors import CorruptedError
from conduitstore.parts.part import Near, Part, TreeOf, atomic
from conduitstore.schema import TREES
from conduitstore.types import Appservice, AppserviceId, Destination

_ID = TREES["id_appserviceregistrations"].key


class Queues(Protocol):
    """What waits for an application service."""

    def forget_all(self, destination: Destination) -> int: ...


class AppservicesNear(Near, Protocol):
    """The outgoing queues."""

    @property
    def sending(self) -> Queues: ...


class Appservices(Part[AppservicesNear]):
    """Tree: ``id_appserviceregistrations``. The text is YAML; reading it is the homeserver's."""

    _rows = TreeOf("id_appserviceregistrations")

    def register(self, id: AppserviceId, registration: str) -> None:
        """Keep a registration under its id; an older one is overwritten.

        Source: Conduit, register_appservice.
        """
        self._rows.put(_ID.pack(id), pack_text(registration))

    @atomic
    def unregister(self, id: AppserviceId) -> bool:
        """Remove a registration and what waits to be sent to it; gives whether there was one.

        Source: Conduit, unregister_appservice.
        """
        self._near.sending.forget_all(Appservice(id))
        return self._rows.remove(_ID.pack(id)) is not None

    def get(self, id: AppserviceId) -> str | None:
        """A registration's text. Source: Conduit, get_registration."""
        value = self._rows.get(_ID.pack(id))
        return None if value is None else unpack_text("id_appserviceregistrations", value)

    def ids(self) -> list[AppserviceId]:
        """Every registration's id. Source: Conduit, iter_ids."""
        return [_ID.unpack(key)[0] for key in self._rows.keys()]  # noqa: SIM118 - reads no values

    def all(self) -> list[tuple[AppserviceId, str | None]]:
        """Every registration; None for one that is no text, so that the others still start.

        Source: Conduit, all, in which one that cannot be read fails them all.
        """
        return [(_ID.unpack(key)[0], _readable(value)) for key, value in self._rows]


def _readable(value: bytes) -> str | None:
    try:
        return unpack_text("id_appserviceregistrations", value)
    except CorruptedError:
        return None
