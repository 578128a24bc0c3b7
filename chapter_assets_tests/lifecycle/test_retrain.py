"""When the next finetune starts: decisions from plain values."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from chapter_assets.lifecycle import finetunes as states
from chapter_assets.lifecycle.finetunes import Finetune
from chapter_assets.lifecycle.retrain import (
    Abandon,
    AskAgain,
    Asked,
    Batch,
    Decision,
    Launch,
    Retry,
    Run,
    Skip,
    View,
    carry_out,
    decide,
    judge,
    run_key,
    settle,
)
from chapter_assets.store import Store
from chapter_assets_tests.lifecycle.made_up import LIMITS, NOW, batch, evidence, finetune, hours

ALIVE, ENDED_WELL, ENDED_BADLY, NONE = Run("in_progress"), Run("succeeded"), Run("failed", "exit code 1"), Run("none")


def look(
    batches: Sequence[Batch],
    finetunes: Sequence[Finetune] = (),
    unreadable: Sequence[str] = (),
    **runs: Run,
) -> View:
    named = {key.replace("_", "-"): run for key, run in runs.items()}
    return View(batches, finetunes, named, "model", "recipe", unreadable)


def launched(decision: Decision) -> list[str]:
    assert isinstance(decision, Launch), decision
    return [f"{key}@{version}" for key, version in decision.evidence.batches]


def skipped(decision: Decision) -> str:
    assert isinstance(decision, Skip), decision
    return decision.reason


@pytest.mark.parametrize(
    ("edits", "starts"),
    [
        ([], False),
        ([41, 0], False),
        ([199], False),
        ([200], True),
        ([100, 100], True),
        ([0, 0, 0], True),
    ],
)
def test_enough_edits_or_enough_batches_start_a_finetune(edits: list[int], starts: bool) -> None:
    decision = decide(look([batch(f"b{i}", n) for i, n in enumerate(edits)]), LIMITS, NOW)
    assert isinstance(decision, Launch if starts else Skip)
    assert f"{len(edits)} of 3 batches, {sum(edits)} of 200 edits pending" in decision.reason


def test_what_starts_is_all_that_is_pending_with_versions_and_models_in_its_run_key() -> None:
    decision = decide(look([batch("c"), batch("a@2"), batch("b")]), LIMITS, NOW)
    assert launched(decision) == ["a@2", "b@1", "c@1"]
    assert isinstance(decision, Launch)
    others = [
        evidence("a@2", "b"),
        evidence("a", "b", "c"),
        decision.evidence.model_copy(update={"base_model": "other"}),
        decision.evidence.model_copy(update={"recipe": "other"}),
    ]
    keys = [run_key(e, attempt) for e in (decision.evidence, *others) for attempt in (1, 2)]
    assert len(set(keys)) == 10


THREE = [batch("a"), batch("b"), batch("c")]


@pytest.mark.parametrize(
    ("before", "run"),
    [
        (finetune("ft-0001", "kept", "a"), NONE),
        (finetune("ft-0001", "promoted", "a"), NONE),
        (finetune("ft-0001", "evaluated", "a"), ENDED_WELL),
        (finetune("ft-0001", "kept", "a", by_hand=True), NONE),
        (finetune("ft-0001", "evaluated", "a", by_hand=True), ENDED_WELL),
    ],
)
def test_what_a_completed_finetune_consumed_is_not_pending(before: Finetune, run: Run) -> None:
    assert "2 of 3 batches" in skipped(decide(look(THREE, [before], ft_0001=run), LIMITS, NOW))


@pytest.mark.parametrize(
    ("before", "run"),
    [
        (finetune("ft-0001", "failed", "a", by_hand=True), NONE),
        (finetune("ft-0001", "set_frozen", "a", by_hand=True), ENDED_WELL),
    ],
)
def test_what_a_hand_froze_and_never_finished_is_still_pending(before: Finetune, run: Run) -> None:
    assert launched(decide(look(THREE, [before], ft_0001=run), LIMITS, NOW)) == ["a@1", "b@1", "c@1"]


def test_a_batch_that_was_made_again_is_new_evidence_and_as_it_was_it_is_not() -> None:
    before = [finetune("ft-0001", "kept", "a", "b", "c")]
    assert launched(decide(look([batch("a@2", 300), batch("b"), batch("c")], before), LIMITS, NOW)) == ["a@2"]
    assert "0 of 3 batches, 0 of 200 edits" in skipped(decide(look(THREE, before), LIMITS, NOW))


@pytest.mark.parametrize("state", states.IN_PROGRESS)
def test_while_one_is_in_progress_none_starts(state: states.State) -> None:
    running = finetune("ft-0001", state, "x")
    said = skipped(decide(look(THREE, [running], ft_0001=ALIVE), LIMITS, NOW + hours(1)))
    assert said == f"ft-0001 is in progress ({state}, attempt 1); 3 of 3 batches, 30 of 200 edits pending"


def test_failed_it_is_tried_again_before_anything_new_starts() -> None:
    failed = finetune("ft-0001", "failed", "a", attempt=2)
    decision = decide(look([*THREE, batch("d", 500)], [failed]), LIMITS, NOW)
    assert isinstance(decision, Retry)
    assert decision.reason == "attempt 2 failed: out of memory"


def test_after_the_last_attempt_it_is_abandoned() -> None:
    decision = decide(look(THREE, [finetune("ft-0001", "failed", "a", attempt=3)]), LIMITS, NOW)
    assert isinstance(decision, Abandon)
    assert decision.reason == "failed 3 times, at last: out of memory"


def test_attempts_that_a_person_forgave_do_not_count() -> None:
    failed = finetune("ft-0001", "failed", "a", attempt=4, forgiven=3)
    assert isinstance(decide(look(THREE, [failed]), LIMITS, NOW), Retry)


def test_what_was_abandoned_comes_back_with_the_next_new_batch_only() -> None:
    given_up = [finetune("ft-0001", "abandoned", "a", "b", "c")]
    said = skipped(decide(look(THREE, given_up), LIMITS, NOW))
    assert said == "0 of 3 batches, 0 of 200 edits pending; abandoned: ft-0001 (`chapter-assets retry`)"
    assert launched(decide(look([*THREE, batch("d")], given_up), LIMITS, NOW)) == ["a@1", "b@1", "c@1", "d@1"]


def test_what_was_abandoned_and_consumed_since_does_not_come_back() -> None:
    before = [finetune("ft-0001", "abandoned", "a", "b"), finetune("ft-0002", "kept", "a", "b", "c")]
    decision = decide(look([batch("a"), batch("b"), batch("c"), batch("d", 500)], before), LIMITS, NOW)
    assert launched(decision) == ["d@1"]


@pytest.mark.parametrize("left", [[batch("a@2"), batch("b")], [batch("b")]])
def test_a_claim_on_a_batch_that_is_gone_is_given_up_at_once_unless_its_set_was_frozen(left: list[Batch]) -> None:
    failed = finetune("ft-0001", "failed", "a", "b")
    decision = decide(look(left, [failed]), LIMITS, NOW)
    assert isinstance(decision, Abandon)
    assert "a was made again or taken away before the set was frozen" in decision.reason
    frozen = finetune("ft-0001", "failed", "a", "b", frozen=True)
    assert isinstance(decide(look(left, [frozen]), LIMITS, NOW), Retry)


def test_a_batch_that_cannot_be_read_is_neither_gone_nor_pending_and_is_named() -> None:
    failed = finetune("ft-0001", "failed", "a", "b")
    assert isinstance(decide(look([batch("b")], [failed], unreadable=["a"]), LIMITS, NOW), Retry)
    said = skipped(decide(look([batch("b")], unreadable=["a"]), LIMITS, NOW))
    assert said == "1 of 3 batches, 10 of 200 edits pending; cannot be read: a"


@pytest.mark.parametrize(
    ("state", "run", "hours_later", "phase", "why"),
    [
        ("claimed", NONE, 0, "unstarted", "claimed 0 s ago"),
        ("claimed", NONE, 99, "unstarted", "ago"),
        ("claimed", ALIVE, 1, "in_progress", "claimed"),
        ("trained", ALIVE, 23.9, "in_progress", "trained"),
        ("trained", ALIVE, 24.1, "failed", "no sign of life for 24 h"),
        ("trained", ALIVE, -23.9, "in_progress", "trained"),
        ("trained", ALIVE, -1000, "failed", "no sign of life for 1000 h"),
        ("trained", NONE, 0, "failed", "its run was deleted"),
        ("trained", ENDED_BADLY, 0, "failed", "exit code 1"),
        ("claimed", ENDED_BADLY, 0, "failed", "exit code 1"),
        ("trained", ENDED_WELL, 0, "failed", "its run ended well, but it is only trained"),
        ("evaluated", ENDED_WELL, 99, "completed", "evaluated"),
        ("evaluated", ENDED_BADLY, 0, "failed", "exit code 1"),
        ("evaluated", ALIVE, 0, "in_progress", "evaluated"),
    ],
)
def test_where_a_finetune_stands_is_told_by_its_state_its_run_and_its_last_sign_of_life(
    state: states.State, run: Run, hours_later: float, phase: str, why: str
) -> None:
    judged = judge(finetune("ft-0001", state, "a"), run, LIMITS, NOW + hours(hours_later))
    assert judged.phase == phase
    assert why in judged.why


def test_a_claim_without_a_run_is_waited_for_and_then_asked_for_again_even_if_the_clock_went_back() -> None:
    claimed = [finetune("ft-0001", "claimed", "a")]
    assert "its run is being started" in skipped(decide(look(THREE, claimed), LIMITS, NOW + hours(0.05)))
    for later in (0.1, 1000, -0.1, -1000):
        assert isinstance(decide(look(THREE, claimed), LIMITS, NOW + hours(later)), AskAgain)


def test_what_has_just_failed_and_is_not_written_down_blocks_for_this_tick() -> None:
    before = [finetune("ft-0001", "trained", "x")]
    assert "has just failed: exit code 1" in skipped(decide(look(THREE, before, ft_0001=ENDED_BADLY), LIMITS, NOW))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def tick(store: Store, batches: Sequence[Batch], minutes: float = 0, **runs: Run) -> Asked | Skip:
    now = NOW + hours(minutes / 60)
    view = look(batches, states.read_all(store), **runs)
    settle(store, view.finetunes, view.runs, LIMITS, now)
    return carry_out(store, decide(replace(view, finetunes=states.read_all(store)), LIMITS, now), [], now)


def test_each_attempt_is_asked_for_under_a_key_of_its_own_until_a_person_is_told(store: Store) -> None:
    asked = [tick(store, THREE)]
    asked += [tick(store, THREE, ft_0001=ENDED_BADLY) for _ in range(2)]
    assert [(a.finetune, a.attempt) for a in asked if isinstance(a, Asked)] == [("ft-0001", n) for n in (1, 2, 3)]
    assert len({a.run_key for a in asked if isinstance(a, Asked)}) == 3
    told = tick(store, THREE, ft_0001=ENDED_BADLY)
    assert isinstance(told, Skip)
    assert "ft-0001 is abandoned: failed 3 times, at last: exit code 1" in told.reason
    assert isinstance(tick(store, THREE), Skip)
    states.give_attempts(store, "ft-0001", "mended", NOW)
    again = tick(store, THREE)
    assert isinstance(again, Asked)
    assert (again.finetune, again.attempt, again.reason) == ("ft-0001", 4, "given attempts anew: mended")


def test_an_answer_that_was_lost_is_given_again_word_for_word(store: Store) -> None:
    lost = tick(store, THREE)
    assert isinstance(tick(store, THREE, minutes=1), Skip)
    again = tick(store, THREE, minutes=6)
    assert isinstance(lost, Asked)
    assert isinstance(again, Asked)
    assert (again.finetune, again.attempt, again.run_key) == (lost.finetune, lost.attempt, lost.run_key)


@pytest.mark.parametrize("situation", ["launch", "retry", "ask again", "abandon"])
def test_of_two_ticks_that_decide_the_same_one_does_it(store: Store, situation: str) -> None:
    now = NOW
    if situation != "launch":
        claimed = states.claim(store, evidence("a", "b", "c"), [], [], "", NOW)
        now = NOW + hours(1)
        attempts = {"retry": 1, "abandon": 3}.get(situation, 0)
        for attempt in range(attempts):
            claimed = states.move(store, claimed, "failed", "", now)
            if attempt + 1 < attempts:
                claimed = states.move(store, claimed, "claimed", "", now)
    decision = decide(look(THREE, states.read_all(store)), LIMITS, now)
    answers = [carry_out(store, decision, [], now) for _ in range(2)]
    assert sum(isinstance(answer, Asked) for answer in answers) == (situation != "abandon")
    assert isinstance(answers[1], Skip)
    assert "Another tick was faster" in answers[1].reason
