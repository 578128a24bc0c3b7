import contextlib
import errno
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chapter_assets.errors import InputError, StoreError
from chapter_assets.store import (
    Journal,
    Store,
    TableWriter,
    canonical_json,
    check_partition_key,
    content_hash,
    write_json,
)

ONE, TWO, THREE = ("1" * 64, "2" * 64, "3" * 64)
SCHEMA = pa.schema([("id", pa.string()), ("n", pa.int32()), ("parts", pa.list_(pa.float64()))])


def publish(store: Store, text: str, version: str, inputs: str = "in", partition: str | None = "sample") -> Path:
    """Publish `videos` of the partition with one file; returns the folder where it now lies."""
    with store.publish("videos", partition, inputs) as draft:
        (draft.folder / "part").mkdir()
        (draft.folder / "part" / "rows.txt").write_text(text)
        draft.version, draft.details = version, {"text": text}
    return store.read("videos", partition).folder


def text_of(store: Store) -> str:
    return (store.read("videos", "sample").folder / "part" / "rows.txt").read_text()


def names(store: Store) -> set[str]:
    return {path.name for path in store.place("videos", "sample").iterdir()}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_what_is_published_can_be_read_with_what_its_maker_recorded(store: Store) -> None:
    assert not store.exists("videos", "sample")
    publish(store, "one", ONE, inputs="made of this")
    artifact = store.read("videos", "sample")
    assert (artifact.version, artifact.inputs, artifact.details) == (ONE, "made of this", {"text": "one"})
    assert text_of(store) == "one"
    assert store.exists("videos", "sample")
    assert store.partitions("videos") == ["sample"]
    assert store.details("videos", "sample") == {"text": "one"}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_draft_that_fails_leaves_the_artifact_before_it_and_no_trace(
    store: Store, error: type[BaseException]
) -> None:
    publish(store, "one", ONE)
    before = names(store)

    def fail() -> None:
        with store.publish("videos", "sample") as draft:
            (draft.folder / "rows.txt").write_text("half of tw")
            draft.version = TWO
            raise error

    with pytest.raises(error):
        fail()
    assert text_of(store) == "one"
    assert names(store) == before


def test_a_first_draft_that_fails_leaves_nothing_that_counts(store: Store) -> None:
    with contextlib.suppress(RuntimeError), store.publish("videos", "sample") as draft:
        draft.version = ONE
        raise RuntimeError
    assert not store.exists("videos", "sample")
    assert store.partitions("videos") == []


def test_a_draft_without_a_version_is_refused(store: Store) -> None:
    publish(store, "one", ONE)
    with pytest.raises(ValueError, match="version"), store.publish("videos", "sample"):
        pass
    assert text_of(store) == "one"


def test_details_that_cannot_be_written_leave_the_artifact_before(store: Store) -> None:
    publish(store, "one", ONE)

    def fail() -> None:
        with store.publish("videos", "sample") as draft:
            draft.version, draft.details = TWO, {"no": object()}

    with pytest.raises(TypeError):
        fail()
    assert text_of(store) == "one"


def test_the_draft_of_a_killed_process_is_swept_by_the_next_one(store: Store) -> None:
    publish(store, "one", ONE)
    script = (
        "import os, pathlib, signal, sys\n"
        "from chapter_assets.store import Store\n"
        "with Store(pathlib.Path(sys.argv[1])).publish('videos', 'sample') as draft:\n"
        "    (draft.folder / 'rows.txt').write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(store.root)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert any(name.startswith(".draft-") for name in names(store))
    assert text_of(store) == "one"
    publish(store, "two", TWO)
    assert not any(name.startswith(".draft-") for name in names(store))
    assert text_of(store) == "two"


def test_the_draft_of_a_living_process_is_left_alone(store: Store) -> None:
    with store.publish("videos", "sample") as slow:
        (slow.folder / "rows.txt").write_text("slow")
        slow.version = ONE
        publish(store, "quick", TWO)
        assert (slow.folder / "rows.txt").exists()
    assert store.read("videos", "sample").version == ONE


def test_a_reader_inside_the_version_before_keeps_its_files_and_older_ones_go(store: Store) -> None:
    first = publish(store, "one", ONE)
    second = publish(store, "two", TWO)
    assert first.exists()
    third = publish(store, "three", THREE)
    assert not first.exists()
    assert second.exists()
    assert third.exists()


def test_the_same_version_published_again_is_whole(store: Store) -> None:
    folders = {publish(store, "one", ONE) for _ in range(3)}
    assert len(folders) == 3
    assert text_of(store) == "one"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_said_and_changes_nothing(store: Store, number: int) -> None:
    publish(store, "one", ONE)
    with pytest.raises(StoreError, match=r"No room to write videos sample .*MiB free") as caught:  # noqa: SIM117
        with store.publish("videos", "sample"):
            raise OSError(number, "full")
    assert "run it again" in caught.value.remedy
    assert text_of(store) == "one"


def test_another_trouble_with_a_file_is_not_taken_for_a_full_disk(store: Store) -> None:
    with pytest.raises(PermissionError), store.publish("videos", "sample"):
        raise PermissionError(errno.EACCES, "no")


def test_reading_what_was_never_made_names_it_and_the_way_out(store: Store) -> None:
    with pytest.raises(StoreError) as caught:
        store.read("videos", "sample")
    assert str(store.place("videos", "sample") / "current.json") in caught.value.problem
    assert "videos sample was never made" in caught.value.problem
    assert caught.value.remedy == "Materialize videos sample (again)"
    with pytest.raises(StoreError, match="champion was never made"):
        store.read("champion", None)


@pytest.mark.parametrize(
    ("left", "said"),
    [(None, "is missing"), (b"on", "has 2 bytes instead of 3"), (b"one more", "has 8 bytes instead of 3")],
)
def test_an_artifact_that_is_not_whole_is_named_with_asset_partition_and_path(
    store: Store, left: bytes | None, said: str
) -> None:
    path = publish(store, "one", ONE) / "part" / "rows.txt"
    if left is None:
        path.unlink()
    else:
        path.write_bytes(left)
    with pytest.raises(StoreError) as caught:
        store.read("videos", "sample")
    assert f"videos sample is not whole: {path} {said}" in caught.value.problem
    assert "Materialize videos sample" in caught.value.remedy
    assert store.details("videos", "sample") == {"text": "one"}


@pytest.mark.parametrize("damaged", [b"", b"{", b"\x00\xff\xfe"])
def test_a_damaged_pointer_is_named_when_read_and_counts_as_not_made(store: Store, damaged: bytes) -> None:
    publish(store, "one", ONE)
    pointer = store.place("videos", "sample") / "current.json"
    pointer.write_bytes(damaged)
    with pytest.raises(StoreError) as caught:
        store.read("videos", "sample")
    assert f"{pointer} is damaged" in caught.value.problem
    assert store.made_from("videos", "sample", "in") is None


@pytest.mark.parametrize("damaged", [b"", b"{", b"\x00\xff\xfe"])
def test_materializing_again_mends_a_damaged_pointer(store: Store, damaged: bytes) -> None:
    publish(store, "one", ONE)
    (store.place("videos", "sample") / "current.json").write_bytes(damaged)
    publish(store, "two", TWO)
    assert text_of(store) == "two"


@pytest.mark.parametrize("pointer", [{}, [], {"version": ONE}])
def test_a_pointer_of_another_shape_is_damaged_too(store: Store, pointer: object) -> None:
    publish(store, "one", ONE)
    (store.place("videos", "sample") / "current.json").write_text(json.dumps(pointer))
    with pytest.raises(StoreError, match="is damaged"):
        store.read("videos", "sample")


def test_an_artifact_counts_as_made_only_from_the_same_inputs_and_while_whole(store: Store) -> None:
    assert store.made_from("videos", "sample", "in") is None
    folder = publish(store, "one", ONE)
    made = store.made_from("videos", "sample", "in")
    assert made is not None
    assert made.version == ONE
    assert store.made_from("videos", "sample", "other") is None
    (folder / "part" / "rows.txt").unlink()
    assert store.made_from("videos", "sample", "in") is None


@pytest.mark.parametrize("key", ["", ".hidden", "..", "a/b", "a\\b", "../up", "-a", "_a", "ü", "a b", "a\n", "a" * 101])
def test_a_key_that_is_no_safe_folder_name_is_refused_by_name(store: Store, key: str) -> None:
    with pytest.raises(InputError) as caught:
        check_partition_key(key)
    assert repr(key) in caught.value.problem
    with pytest.raises(InputError), store.publish("videos", key):
        pass


@pytest.mark.parametrize("key", ["sample", "sml1k_train", "ft-0001", "2024.01.02", "A", "a" * 100])
def test_usual_keys_are_taken_as_they_are(key: str) -> None:
    assert check_partition_key(key) == key


@settings(deadline=None)
@given(st.text())
def test_any_key_that_is_taken_stays_one_folder_below_its_asset(key: str) -> None:
    root = Path("/store")
    with contextlib.suppress(InputError):
        assert Path(os.path.normpath(Store(root).place("videos", key))).parent == root / "videos"


def test_unpartitioned_artifacts_have_a_place_of_their_own(store: Store) -> None:
    publish(store, "one", ONE, partition=None)
    assert store.exists("videos", None)
    assert store.partitions("videos") == ["all"]


def test_unfinished_work_is_taken_up_by_the_same_and_thrown_away_for_another(store: Store) -> None:
    work = store.work_folder("lora_adapter", "ft-0001", ONE)
    (work / "checkpoint").write_text("3")
    assert (store.work_folder("lora_adapter", "ft-0001", ONE) / "checkpoint").read_text() == "3"
    other = store.work_folder("lora_adapter", "ft-0001", TWO)
    assert not work.exists()
    assert list(other.iterdir()) == []
    store.drop_work("lora_adapter", "ft-0001")
    assert not other.exists()


def rows(count: int, seed: int = 0) -> list[dict[str, object]]:
    rng = random.Random(seed)
    return [
        {"id": f"v{i}", "n": rng.choice([None, i]), "parts": [rng.random() for _ in range(rng.randrange(3))]}
        for i in range(count)
    ]


def written(path: Path, content: list[dict[str, object]], one_by_one: bool = False) -> str:
    with TableWriter(path, SCHEMA) as table:
        if one_by_one:
            for row in content:
                table.append(dict(reversed(row.items())))
        else:
            table.extend(content)
    assert table.count == len(content)
    return table.version()


@pytest.mark.parametrize("count", [0, 1, 4096, 9000])
def test_the_hash_of_a_table_depends_on_its_rows_alone(tmp_path: Path, count: int) -> None:
    content = rows(count)
    versions = {written(tmp_path / "a", content), written(tmp_path / "b", content, one_by_one=True)}
    assert len(versions) == 1
    assert pq.read_table(tmp_path / "a").to_pylist() == content
    assert pq.read_table(tmp_path / "a").schema == SCHEMA


def test_any_change_of_rows_order_or_schema_changes_the_hash(tmp_path: Path) -> None:
    content = rows(5000)
    changed = [dict(row) for row in content]
    changed[4321]["n"] = 7_000_000
    moved = [*content[:4998], content[4999], content[4998]]
    versions = [written(tmp_path / "t", c) for c in (content, changed, moved, content[:-1], [*content, content[0]], [])]
    with TableWriter(tmp_path / "t", SCHEMA.append(pa.field("more", pa.string()))) as table:
        pass
    versions.append(table.version())
    assert len(set(versions)) == len(versions)


def test_json_hashes_do_not_depend_on_the_order_of_keys() -> None:
    assert content_hash({"a": 1, "b": {"c": "ü", "d": None}}) == content_hash({"b": {"d": None, "c": "ü"}, "a": 1})
    assert content_hash([1, 2]) != content_hash([2, 1])
    assert content_hash({"a": 1}) != content_hash({"a": "1"})
    with pytest.raises(ValueError, match="JSON"):
        canonical_json(float("nan"))


@settings(deadline=None, max_examples=30)
@given(
    st.recursive(
        st.none() | st.integers() | st.text("aü\n\"'"), lambda x: st.lists(x) | st.dictionaries(st.text("ab"), x)
    )
)
def test_json_hashes_tell_values_apart(value: object) -> None:
    assert json.loads(canonical_json(value)) == value


def test_writing_json_replaces_the_file_at_once_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "value.json"
    write_json(path, {"title": "Größe 🎵"})
    with pytest.raises(TypeError):
        write_json(path, {"title": object()})
    assert json.loads(path.read_text()) == {"title": "Größe 🎵"}
    assert [p.name for p in path.parent.iterdir()] == ["value.json"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_journal_gives_back_what_was_written_in_order(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "new" / "journal.jsonl")
    assert journal.read() == []
    for value in ({"n": 1}, {"text": "größer\nund \r mehr"}):
        with journal.lock():
            journal.append(value)
    assert journal.read() == [{"schema_version": 1, "n": 1}, {"schema_version": 1, "text": "größer\nund \r mehr"}]


def test_a_journal_cut_at_any_byte_of_its_last_line_loses_that_line_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append({"n": 1})
    first = len(journal.path.read_bytes())
    journal.append({"n": 2, "text": "größer"})
    whole = journal.path.read_bytes()
    for cut in range(first + 1, len(whole) - 1):
        journal.path.write_bytes(whole[:cut])
        assert [value["n"] for value in journal.read()] == [1]
        caplog.clear()
        journal.append({"n": 3})
        assert "was cut by a crash" in caplog.text
        assert [value["n"] for value in journal.read()] == [1, 3]
    journal.path.write_bytes(whole + b"\0" * 50)  # what a power cut can leave of a line
    journal.append({"n": 3})
    assert [value["n"] for value in journal.read()] == [1, 2, 3]


def test_a_journal_whose_last_line_an_editor_left_open_loses_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append({"n": 1})
    journal.path.write_bytes(journal.path.read_bytes().rstrip(b"\n"))
    journal.append({"n": 2})
    assert [value["n"] for value in journal.read()] == [1, 2]


def test_many_processes_append_to_one_journal_without_losing_a_line(tmp_path: Path) -> None:
    script = (
        "import pathlib, sys\n"
        "from chapter_assets.store import Journal\n"
        "journal = Journal(pathlib.Path(sys.argv[1]))\n"
        "for n in range(30):\n"
        "    with journal.lock():\n"
        "        journal.append({'n': len(journal.read())})\n"
    )
    path = tmp_path / "journal.jsonl"
    writers = [subprocess.Popen([sys.executable, "-c", script, str(path)]) for _ in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert [value["n"] for value in Journal(path).read()] == list(range(90))
