"""What operators do to a store as a whole: rebuild, delete rooms, collect what is of no use."""

from .rebuild import rebuild
from .rooms import delete_room

__all__ = ["delete_room", "rebuild"]
