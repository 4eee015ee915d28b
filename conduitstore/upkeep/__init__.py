"""What operators do to a store as a whole: rebuild, delete rooms, collect what is of no use."""

from .rebuild import rebuild

__all__ = ["rebuild"]
