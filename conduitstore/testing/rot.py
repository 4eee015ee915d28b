"""What a damaged store may do: answer right, be mended, or say which file is damaged and where.

A store lives (:func:`lived`), its files are damaged (:mod:`.damage`), and :func:`judge` opens what
is left in every way there is, reads all of it in every direction, verifies it and repairs it:

- An open gives the store as it was after some commit, not before what was on the platter; or an
  error with a type.
- A read gives what was there; or ``CorruptedError``, for keys that ``verify`` names as lost.
- A repair makes nothing worse, and what it says is repaired reads.
- A ``CorruptedError`` names a file of the store and a place in it.

The outcome of a damage is one of :data:`OUTCOMES`; anything else is an ``AssertionError`` whose
notes hold a script that repeats it, with no more flips than it takes.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from conduitstore import kv
from conduitstore.engine import embedded
from conduitstore.engine.embedded.lifecycle import Store
from conduitstore.errors import ConduitStoreError, CorruptedError
from conduitstore.kv import Database, Item, Keyspace, Tree

from . import damage as damage_
from . import moves
from .damage import AnyDamage, Damage, Image, Several, disk_of, image_of, several
from .disk import SimulatedDisk
from .oracle import Content, content
from .promises import PATH
from .shrink import shrunk, written_call

OUTCOMES = ("harmless", "repaired", "named", "refused")
"""Nothing is wrong; all of it reads again; some keys give errors; no open gives anything."""
SETTINGS = {
    "flush_every_ms": None,
    "leaf_entries_max": 4,
    "blob_bytes_min": 40,
    "segment_bytes_target": 1_500,
    "idgen_persist_interval": 10,
}
LARGE = {"flush_every_ms": None, "segment_bytes_target": 100_000}
Lost = set[tuple[str, bytes]]
"""Trees and keys that give no answer."""


@dataclass
class Life:
    """A store that was killed, or closed, and what it owes.

    Attributes:
        image: its files.
        states: what it held after each commit.
        promised: the commits up to here were on the platter, as more than one later commit says.
        count: the newest count that was given out.
        ids: all ids that were.
        made: the call that makes it again.
    """

    image: Image = field(default_factory=dict)
    states: dict[int, Content] = field(default_factory=dict)
    promised: int = 0
    count: int = 0
    ids: list[int] = field(default_factory=list)
    made: str = ""

    def commit(self, db: Database, chance: random.Random, value_bytes: tuple[int, ...]) -> None:
        """Some writes and a removal in one of three trees, and an id."""
        tree = chance.choice(("t", "u", kv.DEFAULT_TREE))

        def run(tx: kv.Transaction) -> None:
            self.count = tx.next_count()
            for _ in range(3):
                value = chance.randbytes(chance.choice(value_bytes))
                tx.open_tree(tree).insert(chance.randrange(32).to_bytes(1), value)
            tx.open_tree(tree).remove(chance.randrange(32).to_bytes(1))

        db.transaction(run)
        self.ids.append(db.generate_id())
        self.states[db.sequence] = content(db)


def lived(seed: int, *, is_closed: bool = False, settings: dict[str, Any] = SETTINGS) -> Life:
    """A small store of every kind of file: two generations, and a log behind them.

    The same bytes for a seed.
    """
    life, disk = Life(), SimulatedDisk(can_map=False)  # Else most of its bytes are set aside.
    chance = random.Random(seed)  # noqa: S311 - reproducible
    chosen = f", settings={settings!r}" if settings != SETTINGS else ""
    life.made = f"lived({seed}, is_closed={is_closed}{chosen})"
    life.states[0] = {kv.DEFAULT_TREE: []}
    with _reproducible(chance):
        for _ in range(2):
            db = open_on(disk, settings)
            for _ in range(6):
                life.commit(db, chance, (1, 9, 60))
            db.close()
        db = open_on(disk, settings)
        for part in range(3):
            for _ in range(3):
                life.commit(db, chance, (1, 9, 60, 200))
            if part == 1:
                life.promised = db.flush()
            elif part == 0:
                db.checkpoint()
        db.flush()
        if is_closed:
            db.close()
            life.promised = max(life.states)
    life.image = image_of(disk.directory(PATH) or disk.make_directory(PATH))
    return life


def lived_large(seed: int, entries_total: int) -> Life:
    """A store of leaves and segments of an everyday size, killed behind its last sync."""
    life, disk = Life(), SimulatedDisk(can_map=False)  # Else most of its bytes are set aside.
    chance = random.Random(seed)  # noqa: S311 - reproducible
    life.made = f"lived_large({seed}, {entries_total})"
    with _reproducible(chance):
        db = open_on(disk, LARGE)
        for begin in range(0, entries_total, 500):
            batch = kv.Batch()
            for number in range(begin, begin + 500):
                size = 5_000 if number % 100 == 0 else chance.randrange(20, 200)
                tree = ("t", "u", kv.DEFAULT_TREE)[number % 3]
                batch.insert(tree, chance.randbytes(4), chance.randbytes(size // 2) * 2)
            db.apply_batch(batch)
            if begin == entries_total // 1_000 * 500:
                db.checkpoint()
        db.checkpoint()
        for part in range(3):
            life.promised = db.flush() if part == 1 else life.promised
            for _ in range(2):
                life.commit(db, chance, (50,))
        db.flush()
    life.image = image_of(disk.directory(PATH) or disk.make_directory(PATH))
    return life


@contextmanager
def _reproducible(chance: random.Random) -> Iterator[None]:
    """Stores made inside have the ids that ``chance`` gives them."""
    with (
        mock.patch("os.urandom", chance.randbytes),
        mock.patch("secrets.randbits", chance.getrandbits),
    ):
        yield


def open_on(disk: SimulatedDisk, settings: dict[str, Any], **more: Any) -> Store:
    """The store on a disk."""
    return embedded.open(PATH, files=disk, **settings, **more)  # type: ignore[return-value]


def judge(
    life: Life,
    damage: AnyDamage,
    *,
    settings: dict[str, Any] = SETTINGS,
    strange: Life | None = None,
) -> str:
    """The outcome of one damage; some put in files of a ``strange`` store.

    Raises:
        AssertionError: a wrong answer, or a worse one after a repair.
        Exception: whatever has no type of ours.
    """
    image = damage(life.image, strange.image if strange is not None else {})
    try:
        return _Judge(life, damage, settings, image).outcome()
    except BaseException as error:
        error.add_note(f"after {damage}")
        raise


def judge_all(
    life: Life,
    damages: Iterable[AnyDamage],
    *,
    settings: dict[str, Any] = SETTINGS,
    strange: Life | None = None,
    shrink_seconds: float = 20,
) -> Counter[str]:
    """How often each outcome came; errors as :func:`judge`, with a script that replays them."""
    outcomes: Counter[str] = Counter()
    for each in damages:
        damage = each
        try:
            outcomes[judge(life, damage, settings=settings, strange=strange)] += 1
        except Exception as error:
            if isinstance(damage, Several):
                damage = _fewer(life, damage, settings, shrink_seconds)
            arguments = [life.made, str(damage)]
            arguments += [f"settings={settings!r}"] if settings != SETTINGS else []
            arguments += [f"strange={strange.made}"] if strange is not None else []
            error.add_note(written_call("judge", arguments, damage_, moves, sys.modules[__name__]))
            raise
    return outcomes


def _fewer(life: Life, damage: Several, settings: dict[str, Any], seconds: float) -> Several:
    """Those of several flips that are needed."""

    def fails(flips: Sequence[Damage]) -> bool | None:
        try:
            judge(life, several(flips), settings=settings)
        except Exception:  # noqa: BLE001 - this way or that
            return True
        return None

    return several(shrunk(damage.flips, True, fails, seconds)[0])


class _Judge:
    def __init__(
        self, life: Life, damage: AnyDamage, settings: dict[str, Any], image: Image
    ) -> None:
        self._life = life
        self._settings = settings
        self._image = image
        self._promised = 0 if damage.may_unsay else life.promised
        self._is_flip = damage.is_flip

    def outcome(self) -> str:
        before = self._opened(disk_of(self._image))
        read_only = self._opened(disk_of(self._image), read_only=True)
        if before is not None and read_only is not None:
            assert read_only <= before, "open for reading it gives errors that writers do not get"
        damages = self._verified()
        if before or (before is None and self._is_flip):
            assert damages != [], "verify finds nothing where something is lost"
        after = self._repaired(before)
        if before is not None and not before:
            return "harmless"
        if after is not None and not after:
            return "repaired"
        return "named" if after is not None or before is not None else "refused"

    def _opened(self, disk: SimulatedDisk, **more: Any) -> Lost | None:
        """What an open store gives no answer for; None: it does not open."""
        try:
            db = open_on(disk, self._settings, **more)
        except ConduitStoreError as error:
            self._check_error(error, disk)
            return None
        life = self._life
        assert self._promised <= db.sequence, "a commit is missing that was on the platter"
        assert db.sequence in life.states, f"no commit had the number {db.sequence}"
        check = _Reads(life.states[db.sequence], lambda error: self._check_error(error, disk))
        lost = check.store(db)
        if more:
            return lost
        # A manifest that ends behind a whole frame never promised what is cut off.
        if self._is_flip:
            assert db.current_count() >= life.count, "the count went back"
            assert db.transaction(lambda tx: tx.next_count()) > life.count, "a count came twice"
            assert not set(life.ids).intersection(db.reserve_ids(3)), "an id came twice"
        return lost

    def _verified(self) -> list[Any] | None:
        """Damages; None: they cannot be told."""
        disk = disk_of(self._image)
        try:
            found = list(embedded.verify(PATH, files=disk))
        except ConduitStoreError as error:
            self._check_error(error, disk)
            return None
        for one in found:
            assert one.offset >= 0, one
            if one.file not in self._image:  # An older generation has it, where all newer are lost.
                assert "missing" in one.reason, f"no such file: {one}"
                continue
            end = one.offset + one.size_bytes
            assert not self._is_flip or end <= len(self._image[one.file]), f"no such place: {one}"
        return found

    def _size(self, name: str) -> int:
        """How long a file is, or was before it was cut; at least a header."""
        return max(64, *(len(files.get(name, b"")) for files in (self._image, self._life.image)))

    def _repaired(self, before: Lost | None) -> Lost | None:
        """What has no answer after a repair."""
        disk = disk_of(self._image)
        try:
            repairs = embedded.repair(PATH, files=disk)
        except ConduitStoreError as error:
            self._check_error(error, disk)
            return before
        after = self._opened(disk)
        if before is not None:
            assert after is not None, "it opened before the repair and does not after it"
            assert after <= before, "it reads worse than before the repair"
        if not any(repair.is_lost for repair in repairs):
            assert not after, "what is repaired does not read"
        return after

    def _check_error(self, error: ConduitStoreError, disk: SimulatedDisk) -> None:
        if not isinstance(error, CorruptedError):
            assert not self._is_flip, f"a flipped byte is no {type(error).__name__}: {error}"
            return
        directory = disk.directory(PATH)
        assert directory is not None
        if error.file in {*self._image, *self._life.image}:
            assert 0 <= error.offset <= self._size(error.file), f"no such place: {error}"
        else:
            assert "missing" in str(error), f"no such file: {error}"


class _Reads:
    """Reads everything in every way; each answer is right or an error with a place."""

    def __init__(self, state: Content, on_error: Callable[[CorruptedError], None]) -> None:
        self._state = state
        self._on_error = on_error
        self._lost: Lost = set()

    def store(self, db: Database) -> Lost:
        """What is lost of a whole store."""
        assert db.tree_names() == sorted(self._state)
        with db.snapshot() as view:
            for keyspace in (db, view):
                self._keyspace(keyspace)
        return self._lost

    def _keyspace(self, keyspace: Keyspace) -> None:
        for name, rows in self._state.items():
            tree = keyspace.open_tree(name)
            for key, value in rows:
                if self._get(tree, key, value) is None:
                    self._lost.add((name, key))
                self._get(tree, key + b"\0", None)
            assert len(tree) == len(rows)
            lost = {key for tree_name, key in self._lost if tree_name == name}
            self._walk(tree.range(), rows, lost)
            self._walk(tree.range(reverse=True), rows[::-1], lost)
            self._walk(((key, b"") for key in tree.keys()), [(key, b"") for key, _ in rows], lost)  # noqa: SIM118

    def _get(self, tree: Tree, key: bytes, value: bytes | None) -> bool | None:
        """Whether it is there; None: no answer."""
        try:
            found = tree.get(key)
        except CorruptedError as error:
            self._on_error(error)
            return None
        assert found == value, f"{key!r} has {found!r}, not {value!r}"
        return found is not None

    def _walk(self, items: Iterator[Item], rows: list[Item], lost: set[bytes]) -> None:
        """Up to an error what comes is right, and it comes at what is lost."""
        wanted = iter(rows)
        try:
            for item in items:
                assert item == next(wanted, None), f"{item!r} is none of the tree"
        except CorruptedError as error:
            self._on_error(error)
            assert lost, "a walk finds a damage that no key has"
            return
        assert next(wanted, None) is None, "entries are missing"
