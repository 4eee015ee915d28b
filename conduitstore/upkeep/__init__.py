"""What operators do to a store as a whole: rebuild, delete rooms, collect what is of no use."""

from .rebuild import REBUILDS, rebuild
from .rooms import delete_room

__all__ = ["REBUILDS", "delete_room", "rebuild"]
