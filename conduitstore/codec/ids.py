"""What ids say of themselves."""

from __future__ import annotations

from conduitstore.errors import InvalidArgumentError, shown
from conduitstore.types import ServerName, UserId


def server_of(user: UserId) -> ServerName:
    """The server a user id names."""
    server = user.partition(":")[2]
    if not server:
        raise InvalidArgumentError(f"not a user id: {shown(user)}")
    return ServerName(server)
