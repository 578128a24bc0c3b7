import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chapter_assets.chapters.chapterlist import Chapter
from chapter_assets.chapters.vidchapters_json import read_predictions, read_videos, write_videos
from chapter_assets.errors import InputError

GOOD = {"v1": {"duration": 90.5, "title": "A talk", "chapters": {"60": "End", "0": "Start", "00:00:30.5": "Middle"}}}


def written(folder: Path, content: object) -> Path:
    path = folder / "chapters.json"
    path.write_text(json.dumps(content))
    return path


def test_videos_come_with_their_duration_and_their_chapters_in_time_order(tmp_path: Path) -> None:
    chapters = [Chapter(0, "Start"), Chapter(30.5, "Middle"), Chapter(60, "End")]
    assert read_videos(written(tmp_path, GOOD)) == {"v1": (90.5, chapters)}


def test_a_prediction_needs_no_duration_and_may_have_no_chapters(tmp_path: Path) -> None:
    path = written(tmp_path, {"v1": {"chapters": {"5": "Here"}}, "v2": {"chapters": {}}})
    assert read_predictions(path) == {"v1": [Chapter(5, "Here")], "v2": []}


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "chapters.json"
    path.write_text(json.dumps(GOOD), encoding="utf-8-sig")
    assert list(read_videos(path)) == ["v1"]


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ([], "holds a list, not an object of videos by id"),
        (3, "holds a number"),
        ({"v1": ["Intro"]}, "video 'v1': a list instead of an object"),
        ({"v1": {"chapters": {}}}, "video 'v1': the field duration is missing.*length in seconds"),
        ({"v1": {"duration": None, "chapters": {}}}, "video 'v1', field duration: None is not a time"),
        ({"v1": {"duration": -1, "chapters": {}}}, "video 'v1', field duration: -1 is not a time"),
        ({"v1": {"duration": float("nan"), "chapters": {}}}, "video 'v1', field duration: nan is not a time"),
        ({"v1": {"duration": 0, "chapters": {}}}, "video 'v1', field duration: it is 0"),
        ({"v1": {"duration": 9}}, "video 'v1': the field chapters is missing"),
        ({"v1": {"duration": 9, "chapters": [[0, "Intro"]]}}, "field chapters: a list instead of titles by start"),
        (
            {"v1": {"duration": 9, "chapters": {"soon": "Intro"}}},
            "'v1', field chapters: the start 'soon' is not a time",
        ),
        ({"v1": {"duration": 9, "chapters": {"-4": "Intro"}}}, "the start '-4' is not a time from 0 on.*time codes"),
        ({"v1": {"duration": 9, "chapters": {"0": None}}}, "'v1', field chapters, start '0': the title is null"),
    ],
)
def test_what_is_wrong_is_named_with_file_video_field_and_remedy(tmp_path: Path, content: object, named: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(InputError, match=named) as caught:
        read_videos(path)
    assert str(path) in caught.value.problem
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (json.dumps(GOOD)[:60].encode(), "is not whole, valid JSON.*cut short"),
        (b"", "is not whole, valid JSON"),
        (b"\xff\xfe\x00", "is not whole, valid JSON"),
        (b"[" * 200_000, "is not whole, valid JSON"),
        (b'{"v1": {"chapters": {"0": "One", "0": "Two"}}}', "the key '0' comes twice in one object"),
    ],
)
def test_a_file_that_is_no_whole_json_is_refused(tmp_path: Path, content: bytes, named: str) -> None:
    path = tmp_path / "chapters.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=named):
        read_predictions(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.json cannot be read \(No such file"):
        read_videos(tmp_path / "nothing.json")
    with pytest.raises(InputError, match="cannot be read"):
        read_videos(tmp_path)


def test_starts_are_written_floored_and_the_first_chapter_of_a_second_stays(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    write_videos(path, {"v1": (90.5, [Chapter(30.9, "b"), Chapter(0.2, "a"), Chapter(30.95, "c")]), "v2": (None, [])})
    assert json.loads(path.read_text()) == {
        "v1": {"duration": 90.5, "chapters": {"0": "a", "30": "b"}},
        "v2": {"chapters": {}},
    }
    assert list(tmp_path.iterdir()) == [path]


def test_half_an_emoji_can_be_read_and_written(tmp_path: Path) -> None:
    path = tmp_path / "chapters.json"
    path.write_bytes(rb'{"v1": {"duration": 9, "chapters": {"0": "\ud83d"}}}')
    videos = read_videos(path)
    write_videos(path, videos)
    assert read_videos(path) == videos


whole_lists = st.dictionaries(st.integers(0, 90_000), st.text(), max_size=8).map(
    lambda titles: [Chapter(start, titles[start]) for start in sorted(titles)]
)


@given(st.dictionaries(st.text(), st.tuples(st.floats(0.001, 90_000), whole_lists), max_size=4))
def test_what_is_written_is_read_back_the_same(
    tmp_path_factory: pytest.TempPathFactory, videos: dict[str, tuple[float, list[Chapter]]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "round_trip.json"
    write_videos(path, videos)
    assert read_videos(path) == videos
    assert read_predictions(path) == {video: chapters for video, (_, chapters) in videos.items()}
