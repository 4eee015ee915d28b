"""What all areas stand on: an open store, numbers, and operations that sometimes fail first."""

from contextlib import suppress
from itertools import count
from random import Random

import pytest
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize

import conduitstore
from conduitstore.consistency import check
from conduitstore.errors import ConduitStoreError, InvalidArgumentError
from conduitstore.files import MemoryFiles
from conduitstore.testing.disk import SimulatedDisk

USER_IDS = ["@a:one.test", "@ab:one.test", "@c:two.test"]
DEVICE_IDS = ["D", "E" * 300]
ROOM_IDS = ["!r:one.test", "!s:one.test"]
INDEX = range(8)
"""Chooses one of what there is, whatever that is."""
BOTH = (False, True)


def act(weight=1, **domains):
    """A thing to do, ``weight`` times as often as others, with arguments out of these domains."""

    def decorate(method):
        method.domains, method.weight = domains, weight
        return method

    return decorate


class Undo(Exception):  # noqa: N818  # raised on purpose, it reports nothing
    """Leaves a transaction that shall leave nothing."""


def chosen(things, index):
    """One of them; None of none."""
    things = list(things)
    return things[index % len(things)] if things else None


class Base(RuleBasedStateMachine):
    """A store in memory or on a simulated disk. Areas add rules and a part of the model each."""

    def __init__(self):
        super().__init__()
        self.disk, self.files = SimulatedDisk(), MemoryFiles()
        self.is_embedded = self.fails_next = False
        self.numbers = count(1)

    @initialize(is_embedded=st.booleans())
    def begin(self, is_embedded):
        self.is_embedded = is_embedded
        self.store = self.open()
        self.populate()

    def open(self):
        settings = {"files": self.disk, "leaf_entries_max": 6, "flush_every_ms": None}
        path, own = ("store", settings) if self.is_embedded else (":memory:", {})
        return conduitstore.open(path, media_files=self.files, **own)

    def number(self):
        """One that nobody had before."""
        return next(self.numbers)

    @classmethod
    def acts(cls):
        """The names of all there is to do, each as often as it weighs.

        First to rest: a life that fails is shown with as much of it as can be.
        """
        named = {name: getattr(cls, name) for name in dir(cls)}
        return ["rest"] + [
            name
            for name, method in sorted(named.items())
            for _ in range(getattr(method, "weight", 0))
        ]

    def perform(self, name, number):
        """Do one of them; the number chooses the arguments."""
        chance, method = Random(number), getattr(self, name)
        arguments = {key: chance.choice(domain) for key, domain in method.domains.items()}
        if name != "rest":
            note(f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})")
        method(**arguments)

    # Operations ---------------------------------------------------------------------------------
    def do(self, operation):
        """Do it as one commit; gives its answer. Now and then it is taken back once, first."""
        if self.fails_next:
            self.fails_next = False
            self.take_back(operation)
        return operation(self.store)

    def take_back(self, operation):
        def failing(tx):
            operation(tx)
            raise Undo

        sequence, newest = self.store.db.sequence, self.newest()
        with suppress(Undo, InvalidArgumentError):
            self.store.transaction(failing)
        assert (self.store.db.sequence, self.newest()) == (sequence, newest)

    def refuse(self, operation):
        """It is refused, and nothing of it stays."""
        sequence = self.store.db.sequence
        with pytest.raises(InvalidArgumentError):
            operation(self.store)
        assert self.store.db.sequence == sequence

    def newest(self):
        """The newest count: whatever was done has counts up to it."""
        return self.store.globals.current_count()

    @act(weight=0)
    def rest(self):
        pass

    @act()
    def fail_once(self):
        self.fails_next = True

    # What areas add to --------------------------------------------------------------------------
    def populate(self):
        """What every life begins with."""

    def device_gone(self, user, device):
        """A device was removed."""

    def user_gone(self, user):
        """An account was deactivated."""

    def room_gone(self, room):
        """A room was deleted."""

    def collected(self):
        """What is of no use to anybody was collected."""

    def look(self, view):
        """What readers see is what the model says."""

    # Ends of a life -----------------------------------------------------------------------------
    @act(how=["reopen", "kill", "checkpoint", "compact", "look"])
    def go_on(self, how):
        if how == "look":
            with self.store.snapshot() as view:
                self.look(view)
        elif self.is_embedded and how == "checkpoint":
            self.store.db.checkpoint()
        elif how == "compact":
            self.store.db.compact()
        elif self.is_embedded and how in ("reopen", "kill"):
            newest = self.newest()
            if how == "kill":
                self.disk.kill()
            with suppress(ConduitStoreError):
                self.store.close()
            self.store = self.open()
            assert self.newest() >= newest

    def finish(self):
        with self.store.snapshot() as view:
            self.look(view)
            assert list(check(view.keyspace, self.files)) == []

    def teardown(self):
        if hasattr(self, "store"):
            try:
                self.finish()
            finally:
                with suppress(ConduitStoreError):
                    self.store.close()
