"""What a real homeserver answered to the same syncs over the same history.

Its recorded answers (`tools/pack_syncs.py`) are compared with ours at the same moments. Where they
differ, the reason is named here, and the total of each: a change in either direction fails.
"""

import json
from collections import Counter, defaultdict
from pathlib import Path

import pytest
import zstandard

import conduitstore
from conduitstore.demo.history import History
from conduitstore.demo.replay import replay
from conduitstore.sync import SyncOptions, acknowledge, sync

RECORDED = Path(__file__).parents[1] / "data" / "two-servers-syncs.ndjson.zst"


def recorded():
    with RECORDED.open("rb") as packed:
        text = zstandard.ZstdDecompressor().stream_reader(packed).read()
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def pairs():
    """Each recorded answer with ours, and whether the user was ignoring anybody."""
    answers, tokens, found = recorded(), {}, []
    by_time = defaultdict(list)
    for number, answer in enumerate(answers):
        by_time[answer["at"]].append((number, answer))
    with conduitstore.open(":memory:") as store:

        def ask(done):
            for number, theirs in by_time[done]:
                user, device = theirs["user"], theirs["device"]
                since = 0 if theirs["since"] is None else tokens[theirs["since"]]
                acknowledge(store, user, device, since)
                limit = theirs["filter"]["room"]["timeline"]["limit"]
                with store.snapshot() as view:
                    ours = sync(view, user, device, since, SyncOptions(timeline_limit=limit))
                    ignored = view.account_data.get(None, user, "m.ignored_user_list")
                tokens[number] = ours.next_batch
                found.append((ours, theirs, bool(ignored and ignored["ignored_users"])))

        ask(0)
        for done, _ in enumerate(replay(store, History()), start=1):
            ask(done)
    assert len(found) == len(answers) == 114
    return found


def in_any_order(messages):
    return sorted(json.dumps(message, sort_keys=True) for message in messages)


def joined_pairs(pairs):
    for ours, theirs, is_ignoring in pairs:
        for room in ours.joined.keys() & theirs["join"].keys():
            yield ours.joined[room], theirs["join"][room], is_ignoring


def test_invites_knocks_and_leaves_are_the_same(pairs):
    for ours, theirs, _ in pairs:
        assert sorted(change.room for change in ours.invited) == sorted(theirs["invite"])
        assert sorted(change.room for change in ours.knocked) == sorted(theirs["knock"])
        assert sorted(ours.left) == sorted(theirs["leave"])


def test_timelines_are_the_same_but_for_who_is_ignored(pairs):
    # Hiding whom a user ignores is the homeserver's, not the store's.
    differ = Counter()
    for ours, theirs, is_ignoring in joined_pairs(pairs):
        told = [event.event_id for event in ours.timeline.events]
        differ[told == theirs["timeline"], is_ignoring] += 1
    # Two: events that the replay brings in as state, with a join. Two: what others did in a room
    # before the user came back to it, from where on they tell.
    assert differ[False, False] == 4
    assert differ[True, False] == 396


def test_to_device_messages_are_the_same_but_for_their_order_once(pairs):
    for ours, theirs, _ in pairs:
        told = [[e["type"], e["sender"], e["content"]] for _, e in ours.to_device]
        assert in_any_order(told) == in_any_order(theirs["to_device"])


def test_every_room_that_they_tell_of_news_in_is_told_of(pairs):
    """They also repeat state and account data that did not change; that is no news here."""
    for ours, theirs, _ in pairs:
        assert ours.joined.keys() <= theirs["join"].keys()
        for room in theirs["join"].keys() - ours.joined.keys():
            told = theirs["join"][room]
            assert not told["timeline"]
