"""Who serves: changes by the gate and by hand, and what a crash can do to their files."""

import json
import logging
import os
from pathlib import Path

import pytest

from chapter_assets.errors import InputError, StoreError
from chapter_assets.lifecycle import champion
from chapter_assets.lifecycle.champion import Champion, Judged, Pinned
from chapter_assets.store import Store
from chapter_assets_tests.lifecycle.judged import finish


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Three finished finetunes, none of which serves."""
    store = Store(tmp_path / "store")
    for number in (1, 2, 3):
        finish(store, f"ft-000{number}", hit=0.5 + number / 10)
    return store


def place(store: Store, name: str) -> Path:
    return store.root / "champion" / name


def lines(store: Store) -> list[bytes]:
    return place(store, "history.jsonl").read_bytes().splitlines(keepends=True)


def serving(store: Store) -> str | None:
    found = champion.read(store)
    return found and found.finetune


def judged(store: Store, finetune: str, decision: str = "d1") -> Judged:
    """A decision on the finetune as it is now, against who serves now."""
    now = champion.read(store)
    return Judged(decision, store.read("lora_adapter", finetune).version, now and now.pinned)


def test_before_the_first_there_is_none(store: Store) -> None:
    assert champion.read(store) is None
    assert champion.history(store) == []
    assert champion.opponents(store, "ft-0001") == {}
    with pytest.raises(InputError, match="no champion to go back to"):
        champion.rollback(store, "why not")
    with pytest.raises(InputError, match="no anchor"):
        champion.set_anchor(store, "ft-0001", "why not")
    with pytest.raises(StoreError, match="no history"):
        champion.recover(store)


def test_the_first_champion_is_the_anchor_and_stays_it(store: Store) -> None:
    first = champion.promote(store, "ft-0001", "reads well")
    adapter, report = store.read("lora_adapter", "ft-0001"), store.read("eval_report", "ft-0001")
    assert first == champion.read(store)
    assert (first.adapter, first.report, first.by, first.why) == (adapter.version, report.version, "hand", "reads well")
    assert first.training_set == adapter.details["training_set"]
    assert first.anchor == first.pinned
    second = champion.promote(store, "ft-0002", "better", judged(store, "ft-0002"))
    assert (second.by, second.anchor) == ("gate", first.pinned)
    assert champion.opponents(store, "ft-0003") == {"champion": second.pinned, "anchor": first.pinned}
    assert champion.opponents(store, "ft-0001") == {"champion": second.pinned}  # nobody is judged against itself
    assert champion.set_anchor(store, "ft-0002", "the old one is from another year").anchor == second.pinned
    assert champion.opponents(store, "ft-0003") == {"champion": second.pinned}


def test_a_decision_counts_once_even_after_a_person_undid_it(store: Store) -> None:
    champion.promote(store, "ft-0001", "first")
    decision = judged(store, "ft-0002")
    for _ in range(3):
        assert champion.promote(store, "ft-0002", "better", decision).finetune == "ft-0002"
    assert len(lines(store)) == 2
    champion.rollback(store, "users complain")
    assert champion.promote(store, "ft-0002", "better", decision).finetune == "ft-0001"
    assert len(lines(store)) == 3


def test_a_decision_against_another_champion_or_on_another_adapter_is_refused(store: Store) -> None:
    champion.promote(store, "ft-0001", "first")
    decision = judged(store, "ft-0002")
    champion.promote(store, "ft-0003", "by hand in between")
    with pytest.raises(StoreError, match="judged against ft-0001, but now ft-0003 serves"):
        champion.promote(store, "ft-0002", "better", decision)
    decision = judged(store, "ft-0002")
    finish(store, "ft-0002", hit=0.1)
    with pytest.raises(StoreError, match=r"was judged.*Materialize chapter_predictions"):
        champion.promote(store, "ft-0002", "better", decision)
    assert serving(store) == "ft-0003"


def test_rolling_back_goes_back_step_by_step_and_says_so(store: Store) -> None:
    for number in (1, 2, 3):
        champion.promote(store, f"ft-000{number}", f"number {number}")
    assert champion.rollback(store, "slow").finetune == "ft-0002"
    assert champion.rollback(store, "slow too").finetune == "ft-0001"
    with pytest.raises(InputError):
        champion.rollback(store, "slow as well")
    champion.promote(store, "ft-0003", "again")
    assert champion.rollback(store, "no").finetune == "ft-0001"
    assert [change.what for change in champion.history(store)] == [
        *["promoted"] * 3,
        *["rolled back"] * 2,
        "promoted",
        "rolled back",
    ]
    assert [change.why for change in champion.history(store)][3:5] == ["slow", "slow too"]


def test_only_what_is_whole_can_serve_and_only_with_a_reason(store: Store) -> None:
    with pytest.raises(InputError, match="reason"):
        champion.promote(store, "ft-0001", " ")
    with pytest.raises(StoreError, match="lora_adapter ft-0009 was never made"):
        champion.promote(store, "ft-0009", "why not")
    champion.promote(store, "ft-0001", "first")
    with pytest.raises(InputError, match="serves already"):
        champion.promote(store, "ft-0001", "once more")
    assert len(lines(store)) == 1


def test_an_adapter_that_was_made_anew_does_not_serve_in_the_promoted_ones_place(store: Store) -> None:
    champion.promote(store, "ft-0001", "first")
    champion.promote(store, "ft-0002", "second")
    assert champion.serving_adapter(store).partition == "ft-0002"
    finish(store, "ft-0002", hit=0.1)
    with pytest.raises(StoreError, match="was promoted"):
        champion.serving_adapter(store)
    finish(store, "ft-0001", hit=0.1)
    with pytest.raises(StoreError, match="was promoted"):
        champion.rollback(store, "back")
    assert serving(store) == "ft-0002"


def test_without_a_champion_the_newest_finetune_with_a_report_predicts(store: Store) -> None:
    assert champion.serving_adapter(store).partition == "ft-0003"
    with pytest.raises(InputError, match="no finished finetune"):
        champion.serving_adapter(Store(store.root / "empty"))


@pytest.mark.parametrize("left", [0, 1, 40, -2])
def test_a_champion_file_cut_short_is_named_and_restored_from_the_history(store: Store, left: int) -> None:
    champion.promote(store, "ft-0001", "first")
    expected = champion.promote(store, "ft-0002", "second")
    file = place(store, "champion.json")
    file.write_bytes(file.read_bytes()[:left])
    with pytest.raises(StoreError, match="chapter-assets champion recover") as caught:
        champion.read(store)
    assert str(file) in caught.value.problem
    assert champion.recover(store) == expected == champion.read(store)


@pytest.mark.parametrize("text", ["null", "[]", "{}", '{"finetune": "ft-0001"}'])
def test_a_champion_file_that_says_something_else_is_not_believed(store: Store, text: str) -> None:
    champion.promote(store, "ft-0001", "first")
    place(store, "champion.json").write_text(text)
    with pytest.raises(StoreError, match="damaged"):
        champion.read(store)


def test_a_deleted_champion_file_is_not_taken_for_no_champion(store: Store) -> None:
    champion.promote(store, "ft-0001", "first")
    place(store, "champion.json").unlink()
    with pytest.raises(StoreError, match="missing"):
        champion.read(store)
    assert champion.recover(store).finetune == "ft-0001"


def test_a_crash_between_history_and_champion_file_is_healed_by_the_same_decision(store: Store) -> None:
    champion.promote(store, "ft-0001", "first")
    before = place(store, "champion.json").read_bytes()
    decision = judged(store, "ft-0002")
    champion.promote(store, "ft-0002", "better", decision)
    place(store, "champion.json").write_bytes(before)
    assert champion.promote(store, "ft-0002", "better", decision).finetune == "ft-0002"
    assert serving(store) == "ft-0002"
    assert len(lines(store)) == 2


def test_a_history_line_cut_anywhere_loses_only_itself(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    champion.promote(store, "ft-0001", "first")
    before = place(store, "champion.json").read_bytes()
    champion.promote(store, "ft-0002", "zweite, für größere Videos")
    file = place(store, "history.jsonl")
    first, second = lines(store)
    for cut in range(1, len(second) - 1, 7):
        file.write_bytes(first + second[:cut])
        place(store, "champion.json").write_bytes(before)
        assert [change.champion.finetune for change in champion.history(store)] == ["ft-0001"]
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            champion.promote(store, "ft-0003", "third")
        assert "was cut by a crash" in caplog.text
        assert [change.champion.finetune for change in champion.history(store)] == ["ft-0001", "ft-0003"]


def test_a_damaged_line_further_up_is_named_and_nothing_is_written(store: Store) -> None:
    for number in (1, 2):
        champion.promote(store, f"ft-000{number}", "better")
    file = place(store, "history.jsonl")
    first, second = lines(store)
    for damaged in (first[:50] + b"\n" + second, b"{}\n" + second, b"[]\n" + second):
        file.write_bytes(damaged)
        with pytest.raises(StoreError, match=r"Line 1 of .*history\.jsonl"):
            champion.promote(store, "ft-0003", "third")
        assert file.read_bytes() == damaged


def test_a_lost_history_is_named_and_makes_nobody_the_first_champion(store: Store) -> None:
    champion.promote(store, "ft-0001", "first")
    before = place(store, "champion.json").read_bytes()
    place(store, "history.jsonl").unlink()
    with pytest.raises(StoreError, match=r"its history .*history\.jsonl is gone"):
        champion.promote(store, "ft-0002", "second")
    assert place(store, "champion.json").read_bytes() == before


@pytest.mark.parametrize("field", ["finetune", "adapter", "since", "why"])
def test_a_state_with_something_else_than_text_is_damaged(store: Store, field: str) -> None:
    champion.promote(store, "ft-0001", "first")
    file = place(store, "champion.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {field: 5}))
    with pytest.raises(StoreError, match=rf"champion\.json is damaged.*{field}"):
        champion.read(store)
    assert champion.recover(store).finetune == "ft-0001"


def test_every_line_has_a_schema_version_and_a_whole_state(store: Store) -> None:
    champion.promote(store, "ft-0001", "first")
    champion.set_anchor(store, "ft-0003", "a better measure")
    for line in map(json.loads, lines(store)):
        assert line["schema_version"] == 1
        assert Champion.of(line["champion"]).finetune == "ft-0001"
    last = champion.history(store)[-1]
    assert (last.what, last.why, last.champion.why) == ("anchor set", "a better measure", "first")
    assert last.champion.anchor == Pinned("ft-0003", store.read("lora_adapter", "ft-0003").version)


def test_a_full_disk_leaves_the_champion_as_it_was(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    champion.promote(store, "ft-0001", "first")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        champion.promote(store, "ft-0002", "second")
    monkeypatch.undo()
    assert serving(store) == "ft-0001"
