"""The states of finetunes on disk: claims, steps, crashes in between, damage."""

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest

from chapter_assets.errors import InputError, StoreError
from chapter_assets.lifecycle import finetunes
from chapter_assets.lifecycle.finetunes import (
    Evidence,
    Finetune,
    OvertakenError,
    State,
    advance,
    beat,
    beating,
    check_claim,
    claim,
    feedback_for,
    find,
    give_attempts,
    move,
    next_key,
    read_all,
    renew,
)
from chapter_assets.store import Store
from chapter_assets_tests.lifecycle.made_up import NOW, evidence, freeze, hours, make


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def begin(store: Store, *batches: str) -> Finetune:
    return claim(store, evidence(*batches), read_all(store), [], "enough", NOW)


def found(store: Store, key: str) -> Finetune:
    finetune = find(store, key)
    assert finetune is not None
    return finetune


def go(store: Store, key: str, *passed: State, run: str = "run-1") -> Finetune:
    for state in passed:
        finetune = advance(store, key, state, run, now=NOW)
    return finetune


def test_a_claim_takes_the_next_number_above_all_that_are_known(store: Store) -> None:
    assert begin(store, "a").key == "ft-0001"
    assert claim(store, evidence("b"), read_all(store), ["ft-0007", "mine", "ft-x"], "", NOW).key == "ft-0008"
    make(store, "training_set", "ft-0020")
    assert begin(store, "c").key == "ft-0021"
    assert next_key(["ft-9999"]) == "ft-10000"


def test_evidence_can_be_claimed_once_whatever_the_order_of_its_batches(store: Store) -> None:
    begin(store, "a", "b")
    with pytest.raises(OvertakenError, match="ft-0001 has claimed this evidence"):
        begin(store, "b", "a")
    assert begin(store, "a", "b@2").key == "ft-0002"
    assert [f.key for f in read_all(store)] == ["ft-0001", "ft-0002"]


def claim_one(root: Path, number: int) -> str:
    """Claim until it succeeds, or somebody else has the evidence."""
    store, wanted = Store(root), evidence("same" if number % 2 else f"own-{number}")
    while True:
        try:
            return claim(store, wanted, read_all(store), [], "", NOW).key
        except OvertakenError as error:
            if "this evidence" in error.problem:
                return ""


def test_of_many_processes_one_gets_the_evidence_and_none_the_same_number(tmp_path: Path) -> None:
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        keys = list(pool.map(claim_one, [tmp_path] * 40, range(40)))
    got = sorted(key for key in keys if key)
    assert got == [f"ft-{number:04d}" for number in range(1, 22)]
    assert [f.key for f in read_all(Store(tmp_path))] == got


def test_a_claim_on_what_was_seen_before_another_claim_is_refused(store: Store) -> None:
    seen = read_all(store)
    begin(store, "a")
    with pytest.raises(OvertakenError, match="in the meantime"):
        claim(store, evidence("a", "b"), seen, [], "", NOW)
    assert len(read_all(store)) == 1


class Killed(BaseException):
    pass


def die_at(monkeypatch: pytest.MonkeyPatch, name: str, call: int, after: bool) -> None:
    """Let the `call`-th use of `os.<name>` be the last thing that the process does (`after` it, or just before)."""
    really, left = getattr(os, name), [call]

    def dying(*args: object, **more: object) -> object:
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        if left[0] == 0 and not after:
            raise Killed
        result = really(*args, **more)
        if left[0] == 0:
            raise Killed
        return result

    monkeypatch.setattr(finetunes.os, name, dying)


@pytest.mark.parametrize(
    ("name", "call", "after", "claimed"),
    [
        ("fsync", 1, False, False),
        ("link", 1, False, False),
        ("link", 1, True, True),
        ("fsync", 2, False, True),
        ("link", 2, False, True),
        ("link", 2, True, True),
    ],
)
def test_killed_at_any_point_of_a_claim_the_evidence_is_free_or_has_its_finetune(
    store: Store, monkeypatch: pytest.MonkeyPatch, name: str, call: int, after: bool, claimed: bool
) -> None:
    with monkeypatch.context() as patch:
        die_at(patch, name, call, after)
        with pytest.raises(Killed):
            begin(store, "a")
    if claimed:
        assert [(f.key, f.state, f.evidence) for f in read_all(store)] == [("ft-0001", "claimed", evidence("a"))]
        with pytest.raises(OvertakenError):
            begin(store, "a")
        assert begin(store, "b").key == "ft-0002"
    else:
        assert read_all(store) == []
        assert begin(store, "a").key == "ft-0001"


def test_a_finetune_goes_its_way_and_keeps_its_history_with_reasons(store: Store) -> None:
    begin(store, "a")
    freeze(store, "ft-0001", "a")
    go(store, "ft-0001", "set_frozen", "trained", "served_checked", "evaluated")
    kept = advance(store, "ft-0001", "kept", "run-1", "not better", NOW)
    assert [step.state for step in kept.history] == [
        "claimed",
        "set_frozen",
        "trained",
        "served_checked",
        "evaluated",
        "kept",
    ]
    assert (kept.reason, kept.runs, kept.attempt) == ("not better", ("run-1",), 1)
    assert found(store, "ft-0001") == kept


def test_materializing_again_what_was_passed_changes_nothing_but_the_heartbeat(store: Store) -> None:
    begin(store, "a")
    freeze(store, "ft-0001", "a")
    go(store, "ft-0001", "set_frozen", "trained")
    again = advance(store, "ft-0001", "set_frozen", "run-2", now=NOW + hours(1))
    assert (again.state, again.heartbeat, len(again.history)) == ("trained", NOW + hours(1), 3)
    done = go(store, "ft-0001", "evaluated", "kept")
    assert advance(store, "ft-0001", "trained", "run-3", now=NOW + hours(2)) == done
    assert advance(store, "ft-0001", "promoted", "hand", "a person said so", NOW).state == "promoted"


@pytest.mark.parametrize(
    ("passed", "illegal", "said"),
    [
        ((), "trained", "from claimed to trained. From there it can become set_frozen or failed"),
        (("set_frozen",), "evaluated", "from set_frozen to evaluated"),
        (("set_frozen", "trained"), "kept", "from trained to kept"),
        ((), "promoted", "from claimed to promoted"),
    ],
)
def test_a_step_that_leaves_one_out_is_refused_with_what_is_possible(
    store: Store, passed: tuple[State, ...], illegal: State, said: str
) -> None:
    begin(store, "a")
    if passed:
        freeze(store, "ft-0001", "a")
        go(store, "ft-0001", *passed)
    before = found(store, "ft-0001")
    with pytest.raises(InputError, match=said):
        advance(store, "ft-0001", illegal, "run-1", now=NOW)
    assert found(store, "ft-0001") == before


@pytest.mark.parametrize("state", ["promoted", "kept"])
def test_what_is_decided_does_not_fail_any_more(store: Store, state: State) -> None:
    begin(store, "a")
    freeze(store, "ft-0001", "a")
    done = go(store, "ft-0001", "set_frozen", "trained", "evaluated", state)
    with pytest.raises(InputError):
        move(store, done, "failed", "", NOW)


def test_a_finetune_that_nobody_claimed_gets_its_state_from_its_manifest(store: Store) -> None:
    freeze(store, "mine", "a", "b@7")
    mine = advance(store, "mine", "set_frozen", "run-1", now=NOW)
    assert mine.by_hand
    assert mine.evidence == Evidence(batches=(("a", "1"), ("b", "7")), base_model="model", recipe="")
    assert feedback_for(store, "mine", ["a"]) is None
    assert begin(store, "a", "b@7").key == "ft-0001"


def test_one_that_was_frozen_before_states_were_kept_goes_on_from_there(store: Store) -> None:
    freeze(store, "ft-0003", "a")
    old = advance(store, "ft-0003", "trained", "run-1", now=NOW)
    assert [step.state for step in old.history] == ["claimed", "set_frozen", "trained"]


def test_a_claimed_finetune_also_learns_what_others_were_evaluated_with(store: Store) -> None:
    begin(store, "a", "b")
    assert feedback_for(store, "ft-0001", ["a", "b", "c"]) == ["a", "b"]
    freeze(store, "ft-0001", "a", "b")
    go(store, "ft-0001", "set_frozen", "trained", "evaluated")
    begin(store, "c")
    assert feedback_for(store, "ft-0002", ["b", "c", "d"]) == ["b", "c"]  # a was taken away, d is somebody else's
    freeze(store, "ft-0002", "b", "c")
    advance(store, "ft-0002", "set_frozen", "run-2", now=NOW)


def test_a_set_that_is_not_what_was_claimed_is_refused(store: Store) -> None:
    begin(store, "a", "b")
    freeze(store, "ft-0001", "a", "b@2")
    with pytest.raises(StoreError, match="lacks b at 1"):
        advance(store, "ft-0001", "set_frozen", "run-1", now=NOW)
    assert found(store, "ft-0001").state == "claimed"
    check_claim(store, "mine", {})


def test_failed_it_is_claimed_again_under_its_number(store: Store) -> None:
    begin(store, "a")
    freeze(store, "ft-0001", "a")
    frozen = go(store, "ft-0001", "set_frozen")
    failed = move(store, frozen, "failed", "out of memory", NOW)
    again = move(store, failed, "claimed", "try again", NOW)
    assert (again.key, again.state, again.attempt, again.runs) == ("ft-0001", "claimed", 2, ())
    assert again.frozen
    assert go(store, "ft-0001", "set_frozen", run="run-2").runs == ("run-2",)


@pytest.mark.parametrize("state", ["failed", "abandoned"])
def test_a_run_takes_up_what_had_failed_from_where_its_artifacts_are(store: Store, state: State) -> None:
    begin(store, "a")
    freeze(store, "ft-0001", "a")
    failed = move(store, go(store, "ft-0001", "set_frozen"), "failed", "killed", NOW)
    if state == "abandoned":
        move(store, failed, "abandoned", "", NOW)
    taken_up = go(store, "ft-0001", "trained", run="run-by-hand")
    assert (taken_up.state, taken_up.attempt, taken_up.runs) == ("trained", 2, ("run-by-hand",))
    assert [step.state for step in taken_up.history[-3:]] == ["claimed", "set_frozen", "trained"]


def overtake_by_moving(store: Store, finetune: Finetune) -> None:
    move(store, finetune, "failed", "", NOW)


def overtake_by_a_beat(store: Store, finetune: Finetune) -> None:
    beat(store, finetune.key, NOW + hours(1))


@pytest.mark.parametrize("overtake", [overtake_by_moving, overtake_by_a_beat])
@pytest.mark.parametrize("act", [lambda s, f: move(s, f, "failed", "dead", NOW), lambda s, f: renew(s, f, NOW)])
def test_who_comes_second_changes_nothing(
    store: Store, overtake: Callable[[Store, Finetune], None], act: Callable[[Store, Finetune], Finetune]
) -> None:
    finetune = begin(store, "a")
    overtake(store, finetune)
    before = found(store, "ft-0001")
    with pytest.raises(OvertakenError):
        act(store, finetune)
    assert found(store, "ft-0001") == before


def test_a_person_can_give_attempts_anew_and_the_reason_stays(store: Store) -> None:
    failed = move(store, begin(store, "a"), "failed", "killed", NOW)
    move(store, failed, "abandoned", "failed too often", NOW)
    given = give_attempts(store, "ft-0001", "more memory", NOW)
    assert (given.state, given.attempt, given.forgiven, given.reason) == ("failed", 1, 1, "more memory")
    assert give_attempts(store, "ft-0001", "and more", NOW).state == "failed"
    with pytest.raises(InputError, match="need a reason"):
        give_attempts(store, "ft-0001", "  ", NOW)


def test_only_what_failed_by_itself_can_be_given_attempts(store: Store) -> None:
    begin(store, "a")
    freeze(store, "mine", "b")
    move(store, advance(store, "mine", "set_frozen", "run-1", now=NOW), "failed", "", NOW)
    for key, said in (("ft-0001", "claimed"), ("ft-0002", "unknown"), ("mine", "failed, started by hand")):
        with pytest.raises(InputError, match=f"{key} is {said}"):
            give_attempts(store, key, "why not", NOW)


def test_notes_of_long_work_are_signs_of_life_once_a_minute(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(store, "a")
    noted: list[str] = []
    beats: list[datetime] = []
    monkeypatch.setattr(finetunes, "beat", lambda store, key, now: beats.append(now))
    monkeypatch.setattr(finetunes.time, "monotonic", iter([100.0, 100.0, 110.0, 161.0, 161.0]).__next__)
    note = beating(store, "ft-0001", noted.append)
    for message in ("one", "two", "three"):
        note(message)
    assert noted == ["one", "two", "three"]
    assert len(beats) == 2


def test_a_beat_moves_nothing_and_revives_nothing(store: Store) -> None:
    claimed = begin(store, "a")
    beat(store, "ft-0001", NOW + hours(3))
    alive = found(store, "ft-0001")
    assert alive == claimed.model_copy(update={"heartbeat": NOW + hours(3)})
    failed = move(store, alive, "failed", "", NOW)
    beat(store, "ft-0001", NOW + hours(9))
    assert found(store, "ft-0001") == failed
    beat(store, "ft-0404", NOW)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"key": "ft-0001"}', "\x00\x00"])
@pytest.mark.parametrize("folder", ["finetunes", "evidence"])
def test_a_damaged_file_is_named_with_what_to_do(store: Store, text: str, folder: str) -> None:
    begin(store, "a")
    (path,) = (store.root / "lifecycle" / folder).glob("*.json")
    path.write_text(text)
    with pytest.raises(StoreError, match=f"{path.name} is damaged.*delete it"):
        read_all(store)
    assert path.read_text() == text


def test_a_state_cut_anywhere_is_damaged_and_no_other_state(store: Store) -> None:
    begin(store, "a")
    path = store.root / "lifecycle" / "finetunes" / "ft-0001.json"
    whole = path.read_bytes()
    for length in range(0, len(whole) - 1, 7):
        path.write_bytes(whole[:length])
        with pytest.raises(StoreError, match="is damaged"):
            read_all(store)


def test_a_state_that_was_deleted_comes_back_from_its_claim(store: Store) -> None:
    begin(store, "a")
    freeze(store, "ft-0001", "a")
    go(store, "ft-0001", "set_frozen", "trained")
    (store.root / "lifecycle" / "finetunes" / "ft-0001.json").unlink()
    assert [(f.key, f.state, f.attempt) for f in read_all(store)] == [("ft-0001", "claimed", 1)]
    assert go(store, "ft-0001", "trained").state == "trained"


def test_damage_to_a_state_does_not_stop_the_work_that_only_shows_life(store: Store) -> None:
    begin(store, "a")
    (store.root / "lifecycle" / "finetunes" / "ft-0001.json").write_text("{")
    noted: list[str] = []
    beating(store, "ft-0001", noted.append)("step 5")
    assert noted == ["step 5"]
