"""Which records of many batches count."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from chapter_assets.feedback.effective import Effective, Verdict, effective, read_verdicts
from chapter_assets.feedback.intake import take_in
from chapter_assets_tests.feedback.samples import ROOT

MANY = 1000


def said(
    feedback_id: str,
    minute: int = 0,
    batch: str = "b-1",
    impression_id: str | None = None,
    user: str = "u",
    video_id: str = "v",
    channel: str = "c",
    verdict: str = "edit",
) -> Verdict:
    """A verdict on an impression of its own, unless one is named."""
    at = datetime(2026, 11, 2, tzinfo=UTC) + timedelta(minutes=minute)
    return Verdict(at, batch, feedback_id, impression_id or f"i-{feedback_id}", user, video_id, channel, verdict)


def outcome(*verdicts: Verdict, user: int = MANY, video: int = MANY, channel: int = MANY) -> Effective:
    return effective(verdicts, per_user=user, per_video=video, per_channel=channel)


def test_a_record_sent_again_in_another_batch_counts_once() -> None:
    found = outcome(said("f", batch="b-1"), said("f", batch="b-2"))
    assert found.counted == {("b-1", "f")}
    assert found.left_out == {("b-2", "f"): "sent_again"}


def test_the_earlier_of_two_records_with_one_id_counts_whatever_their_batches_are_called() -> None:
    found = outcome(said("f", 5, "b-1", verdict="accept"), said("f", 1, "b-2"))
    assert found.counted == {("b-2", "f")}


def test_a_users_last_word_counts_also_when_the_first_is_sent_again_later() -> None:
    first, last, again = said("f-1", 1, "b-1", "i"), said("f-2", 2, "b-1", "i"), said("f-1", 1, "b-2", "i")
    found = outcome(first, last, again)
    assert found.counted == {("b-1", "f-2")}
    assert found.left_out == {("b-1", "f-1"): "replaced", ("b-2", "f-1"): "sent_again"}


def test_two_users_may_both_answer_one_impression() -> None:
    assert len(outcome(said("f-1", 0, "b", "i", user="a"), said("f-2", 0, "b", "i", user="b")).counted) == 2


def test_each_cap_leaves_out_what_is_too_many_and_says_which() -> None:
    users = outcome(*(said(f"f-{i}", i, video_id=f"v{i}", channel=f"c{i}") for i in range(4)), user=2)
    assert users.left_out == {("b-1", "f-2"): "cap_user", ("b-1", "f-3"): "cap_user"}
    videos = outcome(*(said(f"f-{i}", i, user=f"u{i}", channel=f"c{i}") for i in range(3)), video=1)
    assert set(videos.left_out.values()) == {"cap_video"}
    channels = outcome(*(said(f"f-{i}", i, user=f"u{i}", video_id=f"v{i}") for i in range(3)), channel=0)
    assert (len(channels.counted), set(channels.left_out.values())) == (0, {"cap_channel"})


def test_what_one_cap_leaves_out_takes_no_place_under_another() -> None:
    verdicts = [said("f-0", 0, user="a"), said("f-1", 1, user="a"), said("f-2", 2, user="b")]
    assert outcome(*verdicts, user=1, video=2).counted == {("b-1", "f-0"), ("b-1", "f-2")}


def test_edits_come_before_accepts_and_those_before_rejects() -> None:
    verdicts = [said("a", 0, verdict="reject"), said("b", 1, verdict="accept"), said("c", 2, verdict="edit")]
    assert outcome(*verdicts, user=1).counted == {("b-1", "c")}
    assert outcome(*verdicts, user=2).counted == {("b-1", "c"), ("b-1", "b")}


@st.composite
def many(draw: st.DrawFn) -> list[Verdict]:
    few = st.integers(0, 3)
    names = draw(st.lists(st.tuples(few, st.integers(0, 9)), unique=True, max_size=25))
    return [
        said(
            f"f-{name}",
            draw(few),
            f"b-{batch}",
            f"i-{draw(few)}",
            f"u-{draw(few)}",
            f"v-{draw(few)}",
            f"c-{draw(few)}",
            draw(st.sampled_from(["edit", "accept", "reject"])),
        )
        for batch, name in names
    ]


caps = st.integers(0, 5)


@given(verdicts=many(), user=caps, video=caps, channel=caps, seed=st.integers(0, 99))
def test_any_order_gives_the_same_and_what_counts_counts_again(
    verdicts: list[Verdict], user: int, video: int, channel: int, seed: int
) -> None:
    found = outcome(*verdicts, user=user, video=video, channel=channel)
    names = {v.name for v in verdicts}
    assert found.counted | found.left_out.keys() == names
    assert not found.counted & found.left_out.keys()
    shuffled = random.Random(seed).sample(verdicts, len(verdicts))
    assert outcome(*shuffled, *shuffled[:3], user=user, video=video, channel=channel) == found
    counted = [v for v in verdicts if v.name in found.counted]
    assert outcome(*counted, user=user, video=video, channel=channel) == Effective(found.counted, {})
    assert len({v.feedback_id for v in counted}) == len({(v.user, v.impression_id) for v in counted}) == len(counted)
    for field, most in (("user", user), ("video_id", video), ("channel", channel)):
        for place in {getattr(v, field) for v in counted}:
            assert sum(getattr(v, field) == place for v in counted) <= most


def test_of_the_samples_the_record_sent_again_in_the_third_batch_counts_in_the_second(tmp_path: Path) -> None:
    verdicts = []
    for batch in ("sample-1", "sample-2", "sample-3"):
        take_in(ROOT / "feedback" / f"{batch}.jsonl", tmp_path, lambda channel: "train")
        verdicts += read_verdicts(pq.read_table(tmp_path / "feedback.parquet"), batch)
    found = outcome(*verdicts)
    assert found.left_out == {("sample-3", "fb-2-0"): "sent_again"}
    assert len(found.counted) == 21
