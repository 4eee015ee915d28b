"""Random lives of media against dictionaries; after each step no row refers to what is gone."""

from hashlib import sha256

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import conduitstore
from conduitstore.files import MemoryFiles
from conduitstore.parts.media.records import KINDS, Dimensions, Selection
from conduitstore.parts.media.retention import KindLimits, Limits
from conduitstore.schema import decode_key, decode_value
from conduitstore.types import Mxc

media = st.builds(Mxc, st.sampled_from(["one.test", "far.test"]), st.sampled_from(["a", "b", "c"]))
sizes = st.sampled_from([Dimensions(32, 32), Dimensions(64, 64)])
contents = st.sampled_from([b"", b"1", b"22", b"333"])
seconds = st.integers(1, 50)
user_names = st.sampled_from([None, "a", "b"])


def name_of(content):
    return sha256(content).hexdigest()


class Lives(RuleBasedStateMachine):
    """Rows: (mxc, dimensions or None) -> content. Bytes that are there: content -> its times."""

    def __init__(self):
        super().__init__()
        self.store = conduitstore.open(":memory:", media_files=MemoryFiles())
        self.media = self.store.media
        self.rows, self.there, self.uploaders, self.blocked = {}, {}, {}, set()

    # The model ------------------------------------------------------------------------------------
    def is_blocked(self, content):
        return any(row[0] in self.blocked for row, found in self.rows.items() if found == content)

    def arrive(self, row, content, now):
        old = self.rows.get(row)
        self.rows[row] = content
        if not self.is_blocked(content):
            created, accessed = self.there.get(content, (now, now))
            self.there[content] = created, max(accessed, now)
        if old is not None:
            self.settle(old)

    def settle(self, content):
        if content not in self.rows.values():
            self.there.pop(content, None)
        elif content not in self.there and not self.is_blocked(content):
            self.drop_content(content)

    def drop_rows(self, rows):
        lost = [self.rows.pop(row) for row in rows if row in self.rows]
        for mxc, dimensions in rows:
            if dimensions is None:
                self.uploaders.pop(mxc, None)
        for content in lost:
            self.settle(content)

    def drop_content(self, content):
        self.there.pop(content, None)
        if not self.is_blocked(content):
            hit = [row for row, found in self.rows.items() if found == content]
            whole = {mxc for mxc, dimensions in hit if dimensions is None}
            self.drop_rows(hit + [row for row in self.rows if row[0] in whole])

    def purge_row(self, row, force):
        content = self.rows.get(row)
        if content is None:
            return
        if force or self.is_blocked(content):
            self.drop_content(content)
        else:
            self.drop_rows([row])

    # Steps ----------------------------------------------------------------------------------------
    @rule(mxc=media, content=contents, now=seconds, uploader=user_names)
    def create(self, mxc, content, now, uploader):
        file, size = self.store.beside.files.put([content])
        user = uploader and f"@{uploader}:{mxc.server}"
        self.media.files.create(mxc, file, size, uploader=user, now_secs=now)
        self.uploaders.pop(mxc, None)
        if user:
            self.uploaders[mxc] = user
        self.arrive((mxc, None), content, now)

    @rule(mxc=media, dimensions=sizes, content=contents, now=seconds)
    def create_thumbnail(self, mxc, dimensions, content, now):
        file, size = self.store.beside.files.put([content])
        self.media.thumbnails.create(mxc, dimensions, file, size, now_secs=now)
        self.arrive((mxc, dimensions), content, now)

    @rule(mxc=media, now=seconds)
    def touch(self, mxc, now):
        self.media.files.touch(mxc, now)
        content = self.rows.get((mxc, None))
        if content in self.there:
            created, accessed = self.there[content]
            self.there[content] = created, max(accessed, now)

    @rule(some=st.lists(media, max_size=3), force=st.booleans())
    def purge(self, some, force):
        before = set(self.there)
        gone = self.media.retention.purge(some, force=force)
        for mxc in some:
            thumbnails = [row for row in self.rows if row[0] == mxc and row[1] is not None]
            for row in [*thumbnails, (mxc, None)]:
                self.purge_row(row, force)
        assert set(gone) == {name_of(content) for content in before - set(self.there)}

    @rule(some=st.lists(media, max_size=2))
    def block(self, some):
        self.media.blocks.block(some, "spam")
        self.blocked |= set(some)

    @rule(mxc=media)
    def unblock(self, mxc):
        assert self.media.blocks.unblock([mxc]) == (mxc in self.blocked)
        if mxc in self.blocked:
            self.blocked.remove(mxc)
            for content in [found for row, found in self.rows.items() if row[0] == mxc]:
                self.settle(content)

    @rule(now=st.integers(1, 120), unused=st.integers(0, 60))
    def expire(self, now, unused):
        limits = Limits(**{kind: KindLimits(unused_secs_max=unused) for kind in KINDS})
        self.media.retention.expire(limits, now_secs=now)
        for content, (_, accessed) in list(self.there.items()):
            if accessed + unused < now:
                self.drop_content(content)

    @rule(now=st.integers(0, 4), bytes_max=st.integers(0, 8))
    def make_room(self, now, bytes_max):
        if now > bytes_max:
            return
        order = sorted((accessed, name_of(c), c) for c, (_, accessed) in self.there.items())
        gone = self.media.retention.make_room(Limits(bytes_max=bytes_max), "local", now)
        for _, name, content in order:
            if sum(map(len, self.there)) + now <= bytes_max:
                break
            if content in self.there:
                assert name in gone
                self.drop_content(content)

    @rule()
    def delete_files(self):
        self.media.contents.delete_files()
        assert set(self.store.beside.files.hashes()) == {name_of(c) for c in self.there}

    # What holds after each ------------------------------------------------------------------------
    @invariant()
    def the_store_has_what_the_model_has(self):
        items = {(i.mxc, i.dimensions): i for i in self.media.files.select(Selection())}
        assert {row: item.file for row, item in items.items()} == {
            row: name_of(content) for row, content in self.rows.items()
        }
        for row, content in self.rows.items():
            expected = self.there.get(content)
            assert items[row].info == (expected and (len(content), *expected))
        found = {mxc: self.media.uploaders.of(mxc) for mxc, _ in self.rows}
        assert {mxc: user for mxc, user in found.items() if user} == self.uploaders
        for content in (b"", b"1", b"22", b"333"):
            assert self.media.blocks.is_blocked_file(name_of(content)) == self.is_blocked(content)

    @invariant()
    def mirrors_agree_and_each_file_has_a_reference_and_its_bytes(self):
        def keys(tree):
            return [decode_key(tree, key) for key, _ in self.store.db.open_tree(tree)]

        def with_files(tree):
            rows = self.store.db.open_tree(tree)
            return [
                {"file": decode_value(tree, value)["file"], **decode_key(tree, key)}
                for key, value in rows
            ]

        def same(one, other):
            assert sorted(map(str, one)) == sorted(map(str, other))

        same(keys("filehash_servername_mediaid"), with_files("servernamemediaid_metadata"))
        same(keys("filehash_thumbnailid"), with_files("thumbnailid_metadata"))
        files = {row["file"] for row in keys("filehash_metadata")}
        behind = keys("filehash_servername_mediaid") + keys("filehash_thumbnailid")
        assert files <= {row["file"] for row in behind}
        assert list(self.media.contents.missing()) == []
        assert {row["file"] for row in keys("kindaccessedfilehash_size")} == files
        assert {row["file"] for row in keys("kindcreatedfilehash_size")} == files
        used = self.media.contents.statistics().values()
        assert sum(usage.files for usage in used) == len(files)
        assert sum(usage.bytes for usage in used) == sum(map(len, self.there))

    def teardown(self):
        self.store.close()


TestLives = pytest.mark.slow(Lives.TestCase)
