"""Two parts of the embedded engine for stores of your own: its log, and its cached leaves.

- :class:`Log`: append records, sync them, read them again after a crash.
- :class:`LeafStore`: sorted runs of entries, compressed in leaves, read through a bounded cache.

A log in front and runs behind it are most of a database; what is missing is what you want to be
different. Both run on the engine's own code and file formats (``docs/format/``).
"""

from .leafstore import LeafStore, Run
from .log import Log

__all__ = ["LeafStore", "Log", "Run"]
