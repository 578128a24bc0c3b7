"""From stored artifacts to a decision that is kept and carried out."""

from pathlib import Path

import pytest

from chapter_assets.errors import StoreError
from chapter_assets.lifecycle import champion
from chapter_assets.lifecycle.gate import read_looks
from chapter_assets.lifecycle.promotion import Decided, decide
from chapter_assets.settings import Settings
from chapter_assets.store import Journal, Store
from chapter_assets_tests.lifecycle.judged import finish

RULES = Settings(_env_file=None)  # type: ignore[call-arg]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def decided(store: Store, key: str, rules: Settings = RULES) -> Decided:
    return decide(store, key, rules, "1")


def serving(store: Store) -> str | None:
    found = champion.read(store)
    return found and found.finetune


def looks(store: Store) -> list[str]:
    return [look.finetune for look in read_looks(Journal(store.root / "gate" / "looks.jsonl"))]


def test_the_first_to_beat_the_control_serves_and_a_better_one_follows_it(store: Store) -> None:
    finish(store, "ft-0001", hit=0.2)
    assert not decided(store, "ft-0001").decision.promoted
    assert serving(store) is None
    finish(store, "ft-0002", hit=0.6)
    assert decided(store, "ft-0002").decision.promoted
    finish(store, "ft-0003", hit=0.95, others={"champion": 0.5})
    third = decided(store, "ft-0003")
    assert third.decision.promoted
    assert third.against == {"champion": "ft-0002"}
    finish(store, "ft-0004", hit=0.6, others={"champion": 0.95, "anchor": 0.6})
    fourth = decided(store, "ft-0004")
    assert not fourth.decision.promoted
    assert fourth.against == {"champion": "ft-0003", "anchor": "ft-0002"}
    now = champion.read(store)
    assert now is not None
    assert (now.finetune, now.by, now.anchor.finetune) == ("ft-0003", "gate", "ft-0002")
    assert now.why == third.decision.reason
    assert looks(store) == ["ft-0001", "ft-0002", "ft-0003", "ft-0004"]


def test_the_artifact_says_what_was_judged_by_which_rules_with_which_numbers(store: Store) -> None:
    finish(store, "ft-0001", hit=0.9)
    details = decided(store, "ft-0001").artifact.details
    for asset in ("training_set", "lora_adapter", "chapter_predictions", "eval_report"):
        assert details["judged"][asset] == store.read(asset, "ft-0001").version
    assert details["rules"]["gate_alpha"] == RULES.gate_alpha
    assert details["decision"]["comparisons"][0]["bound"] > 0
    assert details["decision"]["level"] == pytest.approx(0.0025)


def test_deciding_again_changes_nothing_and_takes_no_second_look(store: Store) -> None:
    for key, hit in (("ft-0001", 0.6), ("ft-0002", 0.9)):
        finish(store, key, hit)
        folders = {decided(store, key).artifact.folder for _ in range(3)}
        assert len(folders) == 1
    assert looks(store) == ["ft-0001", "ft-0002"]
    assert len(champion.history(store)) == 2


def test_a_crash_after_the_decision_is_healed_by_deciding_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    finish(store, "ft-0001", hit=0.9)

    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(champion, "promote", killed)
    with pytest.raises(KeyboardInterrupt):
        decided(store, "ft-0001")
    monkeypatch.undo()
    assert serving(store) is None
    assert decided(store, "ft-0001").decision.promoted
    assert serving(store) == "ft-0001"
    assert looks(store) == ["ft-0001"]


def test_a_crash_after_the_look_spends_it_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    finish(store, "ft-0001", hit=0.9)
    monkeypatch.setattr(Store, "_finish", lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        decided(store, "ft-0001")
    monkeypatch.undo()
    assert not store.exists("promotion", "ft-0001")
    assert decided(store, "ft-0001").decision.promoted
    assert looks(store) == ["ft-0001"]


def test_other_margins_judge_again_on_the_same_look_and_the_champion_is_left_alone(store: Store) -> None:
    finish(store, "ft-0001", hit=0.6)
    finish(store, "ft-0002", hit=0.6, seed=1)
    stricter = RULES.model_copy(update={"gate_margin_f1": 0.0})
    champion.promote(store, "ft-0001", "by hand")
    assert decided(store, "ft-0001").decision.reason == "Not judged: it serves already, by hand: by hand"
    finish(store, "ft-0002", hit=0.6, others={"champion": 0.6}, seed=1)
    first, second = decided(store, "ft-0002"), decided(store, "ft-0002", stricter)
    assert first.artifact.version != second.artifact.version
    assert looks(store) == ["ft-0002"]
    before = store.read("promotion", "ft-0001").folder
    assert decided(store, "ft-0001", stricter).artifact.folder == before


def test_predictions_beside_another_champion_than_serves_now_are_not_judged(store: Store) -> None:
    finish(store, "ft-0001", hit=0.6)
    finish(store, "ft-0002", hit=0.9)
    decided(store, "ft-0001")
    with pytest.raises(StoreError, match="beside nobody, but now it has to stand up to champion ft-0001") as caught:
        decided(store, "ft-0002")
    assert "Materialize chapter_predictions" in caught.value.remedy
    assert looks(store) == ["ft-0001"]
    finish(store, "ft-0002", hit=0.9)
    assert decided(store, "ft-0002").decision.promoted


def test_artifacts_that_are_not_of_one_run_are_not_judged(store: Store) -> None:
    finish(store, "ft-0001", hit=0.9)
    with store.publish("lora_adapter", "ft-0001") as draft:
        draft.version, draft.details = "f" * 64, {"training_set": "x"}
    with pytest.raises(StoreError, match="not of one run"):
        decided(store, "ft-0001")


def test_what_a_person_rolled_back_stays_so_when_the_promoted_one_is_decided_again(store: Store) -> None:
    finish(store, "ft-0001", hit=0.6)
    decided(store, "ft-0001")
    finish(store, "ft-0002", hit=0.95)
    decided(store, "ft-0002")
    champion.rollback(store, "users complain")
    assert decided(store, "ft-0002").decision.promoted  # as it was decided
    assert serving(store) == "ft-0001"
