from pathlib import Path

import pytest

from chapter_assets.errors import InputError
from chapter_assets.feedback.batches import find_batch, list_batches, read_lines
from chapter_assets.feedback.records import LONGEST_LINE


def test_sealed_files_are_found_by_name_and_others_are_passed_over(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a-1.jsonl", ".a.jsonl", "c.jsonl.part", "d.part.jsonl", "notes.txt"):
        (tmp_path / name).write_text(name)
    (tmp_path / "folder.jsonl").mkdir()
    found, refused = list_batches(tmp_path)
    assert found == {name: tmp_path / f"{name}.jsonl" for name in ("a-1", "b")}
    assert refused == {}


def test_a_name_that_cannot_be_a_key_is_named_and_does_not_hide_the_others(tmp_path: Path) -> None:
    for name in ("good.jsonl", "week 1.jsonl", "-x.jsonl", f"{'x' * 101}.jsonl"):
        (tmp_path / name).write_text("{}\n")
    found, refused = list_batches(tmp_path)
    assert list(found) == ["good"]
    assert set(refused) == {"week 1.jsonl", "-x.jsonl", f"{'x' * 101}.jsonl"}
    assert refused["week 1.jsonl"] == "'week 1' cannot be a partition key"


def test_no_folder_holds_no_batch_but_a_folder_that_cannot_be_listed_is_an_error(tmp_path: Path) -> None:
    assert list_batches(tmp_path / "nowhere") == ({}, {})
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="CHAPTER_ASSETS_FEEDBACK_DIR"):
        list_batches(tmp_path / "file")


def test_a_missing_batch_is_named_with_where_to_put_it(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        find_batch(tmp_path, "b-1")
    assert str(tmp_path / "b-1.jsonl") in caught.value.problem
    with pytest.raises(InputError, match="partition key"):
        find_batch(tmp_path, "../b-1")


def test_lines_keep_their_numbers_over_blank_ones_and_an_endless_line_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "b.jsonl"
    path.write_bytes(b"one\n\n  \r\n" + b"x" * (2 * LONGEST_LINE + 5) + b"\nlast")
    lines = list(read_lines(path))
    assert [(number, len(line)) for number, line in lines] == [(1, 4), (4, LONGEST_LINE), (5, 4)]
