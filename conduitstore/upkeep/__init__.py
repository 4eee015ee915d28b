"""What operators do to a store as a whole: rebuild, delete rooms, collect what is of no use."""

from .collect import Collected, gc
from .options import GcOptions
from .rebuild import rebuild
from .rooms import delete_room

__all__ = ["Collected", "GcOptions", "delete_room", "gc", "rebuild"]
