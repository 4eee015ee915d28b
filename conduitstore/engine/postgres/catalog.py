"""Which trees there are: names to numbers, as of the commit that changed them last."""

from __future__ import annotations

from dataclasses import dataclass, field

from conduitstore.kv import DEFAULT_TREE

from .connections import Row


@dataclass(frozen=True, slots=True)
class Catalog:
    """Every tree at one instant. ``version`` is the sequence of the commit that made it so."""

    version: int = -1
    numbers: dict[str, int] = field(default_factory=lambda: {DEFAULT_TREE: 0})

    @classmethod
    def of(cls, version: int, rows: list[Row]) -> Catalog:
        """From rows of names and numbers."""
        return cls(version, {name: number for name, number in rows})  # noqa: C416 - typed tuples

    def changed(self, version: int, made: dict[str, int], dropped: str | None) -> Catalog:
        """This one after a commit."""
        numbers = {name: number for name, number in self.numbers.items() if name != dropped}
        return Catalog(version, numbers | made)
