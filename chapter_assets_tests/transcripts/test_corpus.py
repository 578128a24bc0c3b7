"""Corpus shards: finding, fetching, and the one pass that makes tables of them."""

import contextlib
import http.server
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chapter_assets.chapters.chapterlist import Chapter, problems
from chapter_assets.errors import ChapterAssetsError, InputError, StoreError
from chapter_assets.store import Store
from chapter_assets.transcripts import corpus
from chapter_assets.transcripts.corpus import IngestResult, ShardFiles, fetch_shard, find_shard, ingest, shard_manifest
from chapter_assets.transcripts.vidchapters import AsrRecord, parse_asr


def record(**changed: Any) -> dict[str, Any]:
    return {
        "duration": 100.0,
        "title": "A video",
        "description": "SECRET 0:00 Start 0:30 Middle",
        "channel_id": "UC1",
        "view_count": 3,
        "chapters": {"0": "Start", "30": "Middle"},
    } | changed


def asr(*rows: tuple[Any, Any, Any], **extra: Any) -> dict[str, Any]:
    rows = rows or ((0, 20, "Hello there."), (20, 60, "The middle of it."), (60, 90, "The end."))
    return {name: [row[i] for row in rows] for i, name in enumerate(("start", "end", "text"))} | extra


def pairs(*items: tuple[str, Any]) -> str:
    """A JSON object as text, with repeated keys where there are any."""
    return "{" + ", ".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in items) + "}"


def shard_files(folder: Path, chapters: Any, asrs: Any) -> ShardFiles:
    folder.mkdir(parents=True, exist_ok=True)
    files = ShardFiles(folder / "chapters.json", folder / "asrs.json")
    for path, content in ((files.chapters, chapters), (files.asrs, asrs)):
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return files


def run(files: ShardFiles, folder: Path, shard: str = "shard") -> tuple[IngestResult, dict[str, list[dict[str, Any]]]]:
    """The result of an ingest into `folder`, and the rows of its tables."""
    folder.mkdir(exist_ok=True)
    result = ingest(files, shard_manifest(files), folder, shard, lambda channel: f"split of {channel}", lambda n: None)
    tables = {name: pq.read_table(folder / f"{name}.parquet").to_pylist() for name in result.versions}
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"{name}.parquet" for name in tables)
    for name, tally in result.counts.items():
        assert tally["in"] == tally["kept"] + sum(tally["refused"].values()), name
    return result, tables


# --- finding


def test_a_shard_is_found_under_its_plain_names_and_the_hubs(tmp_path: Path) -> None:
    folder = tmp_path / "sml1k_train"
    folder.mkdir()
    for name in ("chapters_sml1k_train.json", "asrs.json"):
        (folder / name).write_text("{}")
    assert find_shard(tmp_path, "sml1k_train") == ShardFiles(folder / "chapters_sml1k_train.json", folder / "asrs.json")


def test_a_missing_folder_or_file_is_named_with_both_ways_out(tmp_path: Path) -> None:
    for present in ([], ["chapters.json"]):
        for name in present:
            (tmp_path / "s").mkdir()
            (tmp_path / "s" / name).write_text("{}")
        with pytest.raises(InputError) as caught:
            find_shard(tmp_path, "s")
        assert str(tmp_path / "s") in caught.value.problem
        assert "Put " in caught.value.remedy
        assert "`chapter-assets fetch s`" in caught.value.remedy
    assert "asrs.json or asrs_s.json" in caught.value.problem


def test_a_shard_name_cannot_leave_the_corpus_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="partition key"):
        find_shard(tmp_path, "../elsewhere")
    with pytest.raises(InputError, match="partition key"):
        fetch_shard("some/dataset", "../elsewhere", tmp_path)


# --- fetching, from a hub of our own


class Hub(http.server.ThreadingHTTPServer):
    """Serves `files` (path to bytes) the way the hub does; `cut` sends half of each body."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _HubHandler)
        self.files: dict[str, bytes] = {}
        self.cut = False
        self.gets = 0


class _HubHandler(http.server.BaseHTTPRequestHandler):
    server: Hub

    def _head(self) -> bytes | None:
        body = self.server.files.get(self.path)
        self.send_response(404 if body is None else 200)
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("ETag", '"etag"')
        if body is None:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        return body

    def do_HEAD(self) -> None:
        self._head()

    def do_GET(self) -> None:
        self.server.gets += 1
        if self.server.cut and "Range" in self.headers:
            self.close_connection = True
        elif (body := self._head()) is not None:
            self.wfile.write(body[: len(body) // 2] if self.server.cut else body)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}/")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("time.sleep", lambda seconds: None)  # between the hub client's retries
        yield server
        server.shutdown()
        thread.join()


def offer(hub: Hub, shard: str, **contents: Any) -> None:
    for kind, content in contents.items():
        path = f"/datasets/some/dataset/resolve/main/docs/subset_data/{kind}/{kind}_{shard}.json"
        hub.files[path] = json.dumps(content).encode()


def test_a_shard_is_fetched_under_the_names_of_the_hub_and_leaves_nothing_else(tmp_path: Path, hub: Hub) -> None:
    offer(hub, "sml1k_train", chapters={"v": record()}, asrs={"v": asr()})
    files = fetch_shard("some/dataset", "sml1k_train", tmp_path / "corpus")
    assert json.loads(files.chapters.read_text()) == {"v": record()}
    assert json.loads(files.asrs.read_text()) == {"v": asr()}
    assert os.listdir(tmp_path / "corpus") == ["sml1k_train"]
    assert sorted(os.listdir(tmp_path / "corpus" / "sml1k_train")) == ["asrs.json", "chapters.json"]


def test_a_shard_that_is_there_is_not_fetched_again(tmp_path: Path, hub: Hub) -> None:
    offer(hub, "s", chapters={}, asrs={})
    first = fetch_shard("some/dataset", "s", tmp_path)
    gets = hub.gets
    assert fetch_shard("some/dataset", "s", tmp_path) == first
    assert hub.gets == gets


def test_a_shard_the_hub_has_half_of_is_an_input_error_and_leaves_nothing(tmp_path: Path, hub: Hub) -> None:
    offer(hub, "s", chapters={"v": record()})
    with pytest.raises(InputError, match=r"has no docs/subset_data/asrs/asrs_s\.json in the dataset some/dataset"):
        fetch_shard("some/dataset", "s", tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_transfer_cut_off_is_an_input_error_and_leaves_nothing(tmp_path: Path, hub: Hub) -> None:
    offer(hub, "s", chapters={"v": record()}, asrs={"v": asr()})
    hub.cut = True
    with pytest.raises(InputError, match=r"chapters_s\.json of some/dataset could not be fetched whole") as caught:
        fetch_shard("some/dataset", "s", tmp_path)
    assert "fetch it again" in caught.value.remedy
    assert os.listdir(tmp_path) == []


def test_a_hub_out_of_reach_is_an_input_error(tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(InputError, match=r"http://127.0.0.1:9 cannot be reached"):
        fetch_shard("some/dataset", "s", tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_dataset_name_that_cannot_be_is_an_input_error(tmp_path: Path, hub: Hub) -> None:
    with pytest.raises(InputError, match="no/such/name"):
        fetch_shard("no/such/name", "s", tmp_path)


def test_an_incomplete_folder_in_the_way_is_left_alone_and_named(tmp_path: Path, hub: Hub) -> None:
    offer(hub, "s", chapters={}, asrs={})
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "chapters.json").write_text("mine")
    with pytest.raises(InputError) as caught:
        fetch_shard("some/dataset", "s", tmp_path)
    assert "Move " in caught.value.remedy
    assert (tmp_path / "s" / "chapters.json").read_text() == "mine"
    assert hub.gets == 0


# --- ingest


def test_a_manifest_names_bytes_hash_and_number_of_videos(tmp_path: Path) -> None:
    files = shard_files(tmp_path, pairs(("a", record()), ("b", record()), ("a", 1)), {"a": asr()})
    manifest = shard_manifest(files)
    assert {kind: entry["videos"] for kind, entry in manifest.items()} == {"chapters": 3, "asrs": 1}
    assert manifest["asrs"]["bytes"] == files.asrs.stat().st_size
    assert manifest["chapters"]["path"] == str(files.chapters)


def test_a_kept_video_has_the_language_of_its_text_or_else_the_one_its_record_names(tmp_path: Path) -> None:
    french = (0, 50, "Bonjour à tous, aujourd'hui nous allons parler des freins du vélo et de leur entretien.")
    asrs = {
        "heard": asr(french),
        "misnamed": asr(french, language="km"),
        "short": asr((0, 9, "ok")),
        "short_named": asr((0, 9, "ok"), language="oc"),
        "refused": asr(french),
    }
    chapters = {name: record(chapters={} if name == "refused" else {"0": "Start"}) for name in asrs}
    _, tables = run(shard_files(tmp_path / "in", chapters, asrs), tmp_path / "out")
    languages = {video["video_id"]: video["language"] for video in tables["videos"]}
    assert languages == {"heard": "fr", "misnamed": "fr", "short": None, "short_named": "oc", "refused": None}


def test_two_sound_videos_become_rows_of_the_four_tables(tmp_path: Path) -> None:
    chapters = {"a": record(), "b": record(title="B", duration="50", channel_id=None, chapters={"0:10": "Only"})}
    asrs = {"b": [{"text": "b's", "start": "0", "end": "9", "words": []}], "a": asr(language="en", note="ignored")}
    result, tables = run(shard_files(tmp_path / "in", chapters, asrs), tmp_path / "out")
    assert tables["videos"] == [
        {
            "video_id": "b",
            "title": "B",
            "channel_id": "shard",
            "duration": 50.0,
            "language": None,
            "split": "split of shard",
            "segments": 1,
            "chapters": 1,
            "status": "kept",
        },
        {
            "video_id": "a",
            "title": "A video",
            "channel_id": "UC1",
            "duration": 100.0,
            "language": "en",
            "split": "split of UC1",
            "segments": 3,
            "chapters": 2,
            "status": "kept",
        },
    ]
    assert tables["transcripts"][:2] == [
        {"video_id": "b", "segment_index": 0, "start": 0.0, "end": 9.0, "text": "b's"},
        {"video_id": "a", "segment_index": 0, "start": 0.0, "end": 20.0, "text": "Hello there."},
    ]
    assert [(c["video_id"], c["chapter_index"], c["start"], c["title"]) for c in tables["chapters"]] == [
        ("b", 0, 10.0, "Only"),
        ("a", 0, 0.0, "Start"),
        ("a", 1, 30.0, "Middle"),
    ]
    assert tables["refused"] == []
    assert result.counts == {
        "videos": {"in": 2, "kept": 2, "refused": {}},
        "segments": {"in": 4, "kept": 4, "refused": {}, "clipped_to_end": 0},
        "chapters": {"in": 3, "kept": 3, "refused": {}},
    }


def test_the_description_reaches_no_table(tmp_path: Path) -> None:
    files = shard_files(tmp_path / "in", {"a": record(), "b": record(duration=None), "c": record()}, {"a": asr()})
    run(files, tmp_path / "out")
    assert all(b"SECRET" not in path.read_bytes() for path in (tmp_path / "out").iterdir())
    assert "SECRET" not in str([pq.read_table(path).to_pylist() for path in (tmp_path / "out").iterdir()])


def test_every_trap_is_refused_for_its_reason_and_the_counts_add_up(tmp_path: Path) -> None:
    chapters = pairs(
        ("whole", record()),
        ("no_asr", record()),
        ("record_malformed", "text"),
        ("duration_invalid", record(duration="long")),
        ("no_chapters", record(chapters={"500": "beyond the end"})),
        ("asr_malformed", record()),
        ("asr_columns_differ", record()),
        ("empty_transcript", record()),
        ("whole", record(title="the second")),
        ("dirty", record(chapters={"0": "a", "0:00": "twice", "x": "when", "1": 7, "2": "\x07", "100": "past"})),
    )
    asrs = pairs(
        ("whole", asr()),
        ("record_malformed", asr()),
        ("duration_invalid", asr()),
        ("no_chapters", asr()),
        ("asr_malformed", "text"),
        ("asr_columns_differ", {"text": ["a"], "start": [], "end": [1]}),
        ("empty_transcript", asr((0, 1, ""), (1, 2, "  "))),
        ("asr_without_chapters_record", asr()),
        ("whole", asr((0, 1, "the second"))),
        ("asr_without_chapters_record", asr()),
        ("dirty", asr((90, 200, "clipped"), (0, 1, "ok"), (100, 101, "past"), (5, 4, "back"), ("?", 1, "when"))),
    )
    result, tables = run(shard_files(tmp_path / "in", chapters, asrs), tmp_path / "out")

    found = [(v["video_id"], v["status"]) for v in tables["videos"]]
    assert sorted(found) == sorted(
        [("whole", "kept"), ("dirty", "kept"), ("whole", "duplicate_id"), ("whole", "duplicate_id")]
        + [("asr_without_chapters_record", "duplicate_id")]
        + [(status, status) for status in result.counts["videos"]["refused"] if status != "duplicate_id"]
    )
    assert result.counts["videos"]["refused"] == {
        "asr_columns_differ": 1,
        "asr_malformed": 1,
        "asr_without_chapters_record": 1,
        "duplicate_id": 3,
        "duration_invalid": 1,
        "empty_transcript": 1,
        "no_asr": 1,
        "no_chapters": 1,
        "record_malformed": 1,
    }
    assert result.counts["segments"] == {
        "in": 3 * 6 + 2 + 1 + 5,
        "kept": 5,
        "refused": {"ends_before_start": 1, "past_end": 1, "text_empty": 2, "time_invalid": 1, "video_refused": 16},
        "clipped_to_end": 1,
    }
    assert result.counts["chapters"]["refused"] == {
        "empty_title": 1,
        "past_end": 2,
        "same_second": 1,
        "time_invalid": 1,
        "title_not_string": 1,
        "video_refused": 12,
    }
    assert {row["video_id"] for name in ("transcripts", "chapters") for row in tables[name]} == {"whole", "dirty"}
    assert [row["title"] for row in tables["videos"] if row["status"] == "kept"] == ["A video", "A video"]
    dirty = [(row["item"], row["index"], row["reason"]) for row in tables["refused"] if row["video_id"] == "dirty"]
    assert ("segment", 2, "past_end") in dirty
    assert ("chapter", 1, "same_second") in dirty
    assert all(v["segments"] == v["chapters"] == 0 for v in tables["videos"] if v["status"] != "kept")


def test_right_to_left_text_and_a_98_word_title_come_out_as_they_went_in(tmp_path: Path) -> None:
    arabic, long = "مرحبا بالعالم", " ".join(["word"] * 98)
    chapters = {"a": record(title=f"\u202e{arabic}", chapters={"0": long, "9": arabic})}
    _, tables = run(shard_files(tmp_path / "in", chapters, {"a": asr((0, 1, f"\u200f{arabic}\x00"))}), tmp_path / "out")
    assert [c["title"] for c in tables["chapters"]] == [long, arabic]
    assert (tables["videos"][0]["title"], tables["transcripts"][0]["text"]) == (arabic, arabic)


def test_an_empty_shard_is_four_empty_tables(tmp_path: Path) -> None:
    result, tables = run(shard_files(tmp_path / "in", {}, {}), tmp_path / "out")
    assert result.counts["videos"] == {"in": 0, "kept": 0, "refused": {}}
    assert not any(tables.values())


def test_the_same_files_give_the_same_versions_and_a_changed_word_another(tmp_path: Path) -> None:
    asrs = {f"v{i}": asr() for i in range(9)}
    chapters = {f"v{i}": record() for i in range(10)}
    one, _ = run(shard_files(tmp_path / "in", chapters, asrs), tmp_path / "one")
    two, _ = run(shard_files(tmp_path / "in", chapters, asrs), tmp_path / "two")
    asrs["v5"] = asr((0, 1, "Another word."))
    three, _ = run(shard_files(tmp_path / "in", chapters, asrs), tmp_path / "three")
    assert one == two
    assert {n for n in one.versions if one.versions[n] != three.versions[n]} == {"videos", "transcripts"}


@pytest.mark.parametrize("kind", ["chapters", "asrs"])
def test_a_file_that_changed_after_its_manifest_is_refused(tmp_path: Path, kind: str) -> None:
    files = shard_files(tmp_path, {"a": record()}, {"a": asr()})
    manifest = shard_manifest(files)
    path = getattr(files, kind)
    path.write_text(path.read_text() + " ")
    with pytest.raises(
        InputError, match=rf"{kind}\.json changed while it was read, or since raw_vidchapters s"
    ) as caught:
        ingest(files, manifest, tmp_path, "s", str, lambda n: None)
    assert caught.value.remedy == "Materialize raw_vidchapters s again, then this"
    assert not list(tmp_path.glob("*.sqlite"))


def test_a_cut_off_file_stops_the_ingest_and_the_temporary_file_goes(tmp_path: Path) -> None:
    files = shard_files(tmp_path, {"a": record(), "b": record()}, {"a": asr()})
    manifest = shard_manifest(files)
    files.asrs.write_text(files.asrs.read_text()[:-9])
    with pytest.raises(InputError, match="is cut off"):
        ingest(files, manifest, tmp_path, "s", str, lambda n: None)
    assert not list(tmp_path.glob("*.sqlite"))


def test_what_a_killed_ingest_left_is_no_hindrance(tmp_path: Path) -> None:
    files = shard_files(tmp_path, {"a": record()}, {"a": asr()})
    (tmp_path / "waiting.sqlite").write_text("half a database")
    assert ingest(files, shard_manifest(files), tmp_path, "s", str, lambda n: None).counts["videos"]["kept"] == 1


def test_progress_counts_the_videos_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "_VIDEOS_BETWEEN_REPORTS", 2)
    files = shard_files(tmp_path, {f"v{i}": record() for i in range(5)}, {f"v{i}": asr() for i in range(4)})
    seen: list[int] = []
    ingest(files, shard_manifest(files), tmp_path, "s", str, seen.append)
    assert seen == [2, 4, 5]


def test_counts_that_do_not_add_up_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = shard_files(tmp_path, {"a": record()}, {"a": asr()})

    def forgetful(*arguments: Any) -> Any:
        parsed, refusals = parse_asr(*arguments)
        return AsrRecord(None, parsed.segments[:-1], parsed.found), refusals

    monkeypatch.setattr(corpus, "parse_asr", forgetful)
    with pytest.raises(ChapterAssetsError, match="segments in 3, kept 2, refused 0"):
        ingest(files, shard_manifest(files), tmp_path, "s", str, lambda n: None)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(1 - 2**63, 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)  # fmt: skip
A_TIME = st.floats(-1, 130) | st.integers(-1, 130).map(str) | st.just("0:01:05") | ANY_JSON
A_TEXT = st.text(max_size=6) | st.sampled_from(["Hello.", " \x07", "\u202e\u05d0"]) | ANY_JSON
A_COLUMN = st.lists(A_TIME, max_size=3)
A_RECORD = ANY_JSON | st.fixed_dictionaries(
    {},
    optional={
        "duration": st.just(100) | A_TIME,
        "title": A_TEXT,
        "channel_id": A_TEXT,
        "chapters": st.dictionaries(st.integers(-1, 130).map(str) | st.text(max_size=4), A_TEXT, max_size=4) | ANY_JSON,
    },
)
AN_ASR = (
    ANY_JSON
    | st.fixed_dictionaries({}, optional={"text": st.lists(A_TEXT, max_size=3), "start": A_COLUMN, "end": A_COLUMN})
    | st.lists(st.fixed_dictionaries({"text": A_TEXT, "start": A_TIME, "end": A_TIME}) | ANY_JSON, max_size=3)
    | st.lists(st.tuples(A_TIME, A_TIME, A_TEXT), max_size=3).map(lambda rows: asr(*rows))
)
AN_ID = st.sampled_from(["a", "b", "c"]) | st.text(max_size=3)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(AN_ID, A_RECORD), max_size=5), st.lists(st.tuples(AN_ID, AN_ASR), max_size=5))
def test_any_json_as_records_never_crashes_and_every_count_adds_up(
    chapters: list[tuple[str, Any]], asrs: list[tuple[str, Any]]
) -> None:
    with tempfile.TemporaryDirectory() as tmp:
        files = shard_files(Path(tmp), pairs(*chapters), pairs(*asrs))
        result, tables = run(files, Path(tmp) / "out")
    assert result.counts["videos"]["in"] == len(tables["videos"])
    assert len(tables["videos"]) - result.counts["videos"]["refused"].get("duplicate_id", 0) == len(
        {video["video_id"] for video in tables["videos"]}
    )
    for video in (v for v in tables["videos"] if v["status"] == "kept"):
        listed = [Chapter(c["start"], c["title"]) for c in tables["chapters"] if c["video_id"] == video["video_id"]]
        spoken = [s for s in tables["transcripts"] if s["video_id"] == video["video_id"]]
        assert problems(listed, video["duration"]) == []
        assert (len(listed), len(spoken)) == (video["chapters"], video["segments"])
        assert [s["start"] for s in spoken] == sorted(s["start"] for s in spoken)
        assert all(0 <= s["start"] <= s["end"] <= video["duration"] and s["text"] for s in spoken)


# --- size


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_memory_stays_flat_over_300_megabytes(tmp_path: Path) -> None:
    description = json.dumps("0:00 Start. " * 250)
    chapters = (
        '"v%d":{"duration":900,"title":"A","description":' + description + ',"chapters":{"0":"a","300":"b"}}'
    ).encode()
    sentence = json.dumps("This is what somebody said in a video about something, at some length, as people do.")
    spoken = ",".join([sentence] * 25), ",".join(str(i * 30.25) for i in range(25)), ",".join(["760.5"] * 25)
    asrs = ('"v%d":{"text":[' + spoken[0] + '],"start":[' + spoken[1] + '],"end":[' + spoken[2] + '],"note":').encode()
    asrs += json.dumps("x" * 10_000).encode() + b"}"
    videos = 19_500
    for name, template in (("chapters", chapters), ("asrs", asrs)):
        with (tmp_path / f"{name}.json").open("wb") as file:
            file.write(b"{" + template % 0)
            file.writelines(b"," + template % i for i in range(1, videos))
            file.write(b"}")
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert size > 300e6
    script = """
import sys, pathlib
from chapter_assets.transcripts.corpus import ShardFiles, ingest, shard_manifest
def peak():  # MiB; ru_maxrss would begin at the parent's
    return int(pathlib.Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) // 1024
folder = pathlib.Path(sys.argv[1])
files = ShardFiles(folder / "chapters.json", folder / "asrs.json")
before = peak()
result = ingest(files, shard_manifest(files), folder, "s", str, lambda n: None)
print(before, peak(), result.counts["segments"]["kept"])
"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    before, after, kept = map(int, done.stdout.split())
    print(f"{size / 1e6:.0f} MB: {before} MiB, at most {after} MiB")
    assert kept == videos * 25
    assert after - before < 250


# --- a full disk

BIG = 60_000


def big_shard(folder: Path, big: str) -> ShardFiles:
    """A shard that needs some 4 MB of room: in its waiting records (`chapters`), or in its transcripts (`asrs`)."""
    noise = [os.urandom(32).hex() for _ in range(BIG)]
    listed = {str(i): text for i, text in enumerate(noise)} if big == "chapters" else {"0": "a"}
    rows = [(i, i + 1, text) for i, text in enumerate(noise)] if big == "asrs" else [(0, 1, "a")]
    return shard_files(folder, {"v": record(duration=BIG, chapters=listed)}, {"v": asr(*rows)})


def publish(store: Store, files: ShardFiles) -> None:
    with store.publish("corpus", "s") as draft:
        result = ingest(files, shard_manifest(files), draft.folder, "s", str, lambda n: None)
        draft.version, draft.details = result.versions["videos"], result.counts


def check_full_disk(store: Store, tmp_path: Path, big: str, limit: contextlib.AbstractContextManager[None]) -> None:
    publish(store, shard_files(tmp_path / "small", {"v": record()}, {"v": asr()}))
    files = big_shard(tmp_path / "big", big)
    with limit, pytest.raises(StoreError, match="No room to write corpus s"):
        publish(store, files)
    artifact = store.read("corpus", "s")
    assert artifact.table("transcripts").num_rows == 3
    assert sorted(path.name for path in store.place("corpus", "s").iterdir()) == sorted(
        [".lock", artifact.folder.name, "current.json"]
    )


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("mounting a small disk needs root")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("big", ["chapters", "asrs"])
def test_a_full_disk_is_a_store_error_and_the_earlier_artifact_stays(
    tmp_path: Path, small_disk: Path, big: str
) -> None:
    check_full_disk(Store(small_disk), tmp_path, big, contextlib.nullcontext())


@contextlib.contextmanager
def file_size_limit(limit: int) -> Iterator[None]:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("big", ["chapters", "asrs"])
def test_a_file_over_the_size_limit_is_a_store_error_too(tmp_path: Path, big: str) -> None:
    check_full_disk(Store(tmp_path / "store"), tmp_path, big, file_size_limit(1_000_000))
