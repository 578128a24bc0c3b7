from collections import Counter

import pytest

from chapter_assets.training.splits import split_of

CHANNELS = [f"UC{i:05d}" for i in range(6000)]


@pytest.mark.parametrize(
    ("channel", "part"),
    [
        ("UC_x5XG1OV2P6uZZ5FSM9Ttw", "train"),
        ("UCBR8-60-B28hp2BmDPdntcQ", "gate"),
        ("UC1", "validation"),
        ("UC2", "audit"),
        ("UC7", "train"),
        ("Größe", "train"),
        ("", "gate"),
    ],
)
def test_a_channel_stays_in_its_part_for_ever(channel: str, part: str) -> None:
    assert split_of(channel, "sample", validation=12, gate=20, audit=5) == part
    assert split_of(channel, "sml1k_train", validation=12, gate=20, audit=5) == part


def test_the_parts_have_about_the_sizes_asked_for() -> None:
    parts = Counter(split_of(channel, "sample", 12, 20, 5) for channel in CHANNELS)
    shares = {part: 100 * number / len(CHANNELS) for part, number in parts.items()}
    assert shares == pytest.approx({"train": 63, "validation": 12, "gate": 20, "audit": 5}, abs=1.5)


def test_a_part_of_no_percent_is_empty() -> None:
    assert {split_of(channel, "sample", 1, 1, 0) for channel in CHANNELS} == {"train", "validation", "gate"}
    assert {split_of(channel, "sample", 0, 0, 0) for channel in CHANNELS} == {"train"}


@pytest.mark.parametrize(
    ("shard", "part"), [("sml1k_val", "validation"), ("sml1k_test", "gate"), ("my_val", "validation")]
)
def test_a_published_held_out_shard_is_held_out_whole(shard: str, part: str) -> None:
    assert {split_of(channel, shard, 12, 20, 5) for channel in CHANNELS} == {part}


@pytest.mark.parametrize("shard", ["sml1k_train", "val", "test_videos", "validation"])
def test_other_shards_are_split_by_channel(shard: str) -> None:
    assert [split_of(c, shard, 12, 20, 5) for c in CHANNELS] == [split_of(c, "sample", 12, 20, 5) for c in CHANNELS]


def test_making_a_part_larger_moves_no_channel_out_of_the_parts_before_it() -> None:
    for channel in CHANNELS:
        before, after = split_of(channel, "s", 12, 20, 5), split_of(channel, "s", 12, 20, 9)
        assert before == after or (before, after) == ("train", "audit")
