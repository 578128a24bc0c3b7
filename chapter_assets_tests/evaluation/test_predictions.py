"""Predicting for real, by a tiny adapter with a head that knows nothing."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chapter_assets.chapters.chapterlist import Chapter, problems
from chapter_assets.errors import InputError
from chapter_assets.evaluation.predict import find_system
from chapter_assets.evaluation.predictions import PREDICTIONS, judged_gold, predict_all
from chapter_assets.inference.adapters import load_adapter, write_chooser
from chapter_assets.inference.base_models import find_base_model, load_causal_lm
from chapter_assets.inference.decoder import Priors, Wishes
from chapter_assets.inference.engine import TransformersEngine
from chapter_assets.inference.head import score_control
from chapter_assets.settings import Settings
from chapter_assets.store import Artifact
from chapter_assets.windows.prompts import PromptBuilder
from chapter_assets_tests.inference.test_head import ANYTHING, random_control, random_head
from chapter_assets_tests.made_up import long_transcript

SYSTEMS = ["one_chapter", "three_equal", "equal_spacing", "control", "finetuned"]
GATE = ["g1", "g2"]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Settings:
    return Settings(
        store_dir=tmp_path_factory.mktemp("store"), base_model=str(tiny_model), window_tokens=600, _env_file=None
    )


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory, settings: Settings, tiny_engine: TransformersEngine) -> Path:
    """A LoRA that changes nothing yet, and a head of random weights."""
    import torch
    from peft import LoraConfig, get_peft_model

    folder = tmp_path_factory.mktemp("adapter")
    base = find_base_model(settings.base_model, settings.base_models_dir)
    config = LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    get_peft_model(load_causal_lm(base, torch.float32), config).save_pretrained(folder)
    prompt = PromptBuilder(tiny_engine.tokenizer, timed=False).fingerprint
    head = random_head(tiny_engine.model.config.hidden_size)
    priors, control_priors = Priors(spread=0.25), Priors(shift=-1)
    window, learned = (600, 0.25), {"en": 40}
    write_chooser(folder, base, prompt, window, head, priors, random_control(), ANYTHING, control_priors, learned)
    return folder


@pytest.fixture(scope="module")
def training_set(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Two gate videos and one of validation, with a chapter every 40 s."""
    folder = tmp_path_factory.mktemp("training-set")
    videos: list[dict[str, Any]] = []
    transcripts: list[dict[str, Any]] = []
    chapters: list[dict[str, Any]] = []
    for seed, video_id in enumerate([*GATE, "v1"]):
        talk = long_transcript(20 + seed, seed=seed, video_id=video_id, title=f"On {video_id}")
        about = {"video_id": video_id, "title": talk.title, "channel_id": f"c{seed}", "duration": talk.duration}
        split = "gate" if video_id in GATE else "validation"
        videos.append(about | {"split": split, "status": "kept", "shard": "sample"})
        transcripts += [{"video_id": video_id, "start": s.start, "end": s.end, "text": s.text} for s in talk.segments]
        chapters += [{"video_id": video_id, "start": float(t), "title": f"at {t}"} for t in (0, 40, 80)]
    for name, rows in (("videos", videos), ("transcripts", transcripts), ("chapters", chapters)):
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{name}.parquet")
    return Artifact("training_set", "ft-0001", folder, "1" * 64, "", {})


@dataclass
class Work:
    """How often the model was asked, and what was written down."""

    journal: Path
    calls: list[str]

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.journal.read_bytes().splitlines()]


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Work:
    calls: list[str] = []
    read = TransformersEngine.read

    def counted(self: TransformersEngine, *arguments: Any) -> Any:
        calls.append("read")
        return read(self, *arguments)

    monkeypatch.setattr(TransformersEngine, "read", counted)
    return Work(tmp_path / "predictions.jsonl", calls)


@pytest.fixture
def predict(
    settings: Settings, training_set: Artifact, adapter: Path, work: Work
) -> Callable[[], list[dict[str, Any]]]:
    def run() -> list[dict[str, Any]]:
        table = predict_all(settings, training_set, adapter, False, work.journal.parent, lambda note: None)
        assert table.schema == PREDICTIONS
        rows: list[dict[str, Any]] = table.to_pylist()
        return rows

    return run


Predict = Callable[[], list[dict[str, Any]]]


def test_every_system_has_a_valid_list_for_every_gate_video_and_no_other(predict: Predict, work: Work) -> None:
    rows = predict()
    assert [(r["system"], r["video_id"]) for r in rows] == [(s, v) for s in SYSTEMS for v in GATE]
    spaced = next(r for r in rows if r["system"] == "equal_spacing")  # as the chapters of validation are
    assert [c["start"] for c in spaced["chapters"]] == [40.0 * i for i in range(len(spaced["chapters"]))]
    for row in rows:
        assert problems([Chapter(**c) for c in row["chapters"]], row["duration"]) == []
        assert (row["scores"] is None) == (row["system"] in SYSTEMS[:3])
        assert (row["shard"], row["split"], row["title"]) == ("sample", "gate", f"On {row['video_id']}")
    assert [(r["system"], r["video_id"]) for r in work.lines()] == [(r["system"], r["video_id"]) for r in rows]


def test_a_finished_run_asks_the_model_nothing_again(predict: Predict, work: Work) -> None:
    first = predict()
    assert len(work.calls) >= len(GATE)
    work.calls.clear()
    assert predict() == first  # `seconds` and all
    assert work.calls == []
    assert len(work.lines()) == len(first)


@pytest.mark.parametrize("kept", [3, 8, 9])
def test_a_journal_cut_within_a_line_is_mended_and_what_was_finished_is_not_done_again(
    predict: Predict, work: Work, kept: int
) -> None:
    first = predict()
    once = len(work.calls) // len(GATE)
    lines = work.journal.read_bytes().splitlines(keepends=True)
    work.journal.write_bytes(b"".join(lines[:kept]) + lines[kept][: len(lines[kept]) // 2])
    work.calls.clear()
    again = predict()
    finetuned_left = min(len(first) - kept, len(GATE))
    assert len(work.calls) == once * finetuned_left
    assert again[:kept] == first[:kept]
    assert [r | {"seconds": 0} for r in again] == [r | {"seconds": 0} for r in first]
    assert [(r["system"], r["video_id"]) for r in work.lines()] == [(r["system"], r["video_id"]) for r in first]


def test_a_journal_cut_just_before_the_end_of_a_line_stays_readable(predict: Predict, work: Work) -> None:
    first = predict()
    lines = work.journal.read_bytes().splitlines(keepends=True)
    work.journal.write_bytes(b"".join(lines[:9]).rstrip(b"\n"))
    assert [r | {"seconds": 0} for r in predict()] == [r | {"seconds": 0} for r in first]
    assert len(work.lines()) == len(first)


def test_the_finetuned_model_and_the_control_say_how_sure_they_are_and_guesses_do_not(predict: Predict) -> None:
    for row in predict():
        believes = row["system"] in ("control", "finetuned")
        for column in ("confidences", "expected_f1", "score"):
            assert (row[column] is not None) == believes
        if believes:
            assert len(row["confidences"]) == len(row["chapters"])
            assert all(0 <= c <= 1 for c in row["confidences"])
            assert 0 <= row["score"] <= row["expected_f1"] <= 100
        else:
            assert row["unsupported"] == []  # titled with phrases of the text


def test_unlabelled_videos_are_predicted_by_the_finetuned_model_alone_and_only_once(
    settings: Settings, training_set: Artifact, adapter: Path, work: Work
) -> None:
    talk = long_transcript(15, seed=9, video_id="u1", title="On u1")
    about = {"video_id": "u1", "title": "On u1", "channel_id": "c9", "duration": talk.duration}
    unlabelled = [(about | {"split": "unlabelled", "shard": "sample"}, talk)]
    first, again = (
        predict_all(settings, training_set, adapter, False, work.journal.parent, print, unlabelled) for _ in range(2)
    )
    assert again == first
    assert [(r["system"], r["video_id"]) for r in first.to_pylist() if r["split"] == "unlabelled"] == [
        ("finetuned", "u1")
    ]
    assert len(work.lines()) == len(SYSTEMS) * len(GATE) + 1


def test_the_gold_of_a_split_is_its_videos_with_duration_and_chapters(training_set: Artifact) -> None:
    gold = judged_gold(training_set, "gate")
    assert sorted(gold) == GATE
    assert [c.start for c in gold["g1"][1]] == [0, 40, 80]
    assert gold["g1"][0] == long_transcript(20, seed=0).duration
    assert list(judged_gold(training_set, "validation")) == ["v1"]


def test_an_adapter_predicts_with_its_own_head_and_priors(settings: Settings, adapter: Path) -> None:
    loaded = load_adapter(adapter, settings.base_models_dir)
    talk = long_transcript(20)
    expected = score_control(talk, random_control(), ANYTHING)
    found = loaded.control.predict(talk)
    assert found.scores == pytest.approx(list(expected))
    assert loaded.predictor.chooser.priors == Priors(spread=0.25)  # type: ignore[attr-defined]
    assert loaded.control.chooser.priors == Priors(shift=-1)  # type: ignore[attr-defined]


def test_wishes_reach_the_adapters_model_and_its_control(settings: Settings, adapter: Path) -> None:
    talk = long_transcript(30)
    for wished in (2, 7):
        assert len(find_system(settings, lambda: adapter, None, Wishes(count=wished))(talk)) == wished
    assert load_adapter(adapter, settings.base_models_dir).predictor.predict(talk).chapters == find_system(
        settings, lambda: adapter, None, Wishes()
    )(talk)


@pytest.mark.parametrize("name", ["one_chapter", "three_equal", "equal_spacing:60", "base_zero_shot"])
def test_a_baseline_without_scores_refuses_wishes_before_anything_is_loaded(
    settings: Settings, adapter: Path, name: str
) -> None:
    with pytest.raises(InputError, match=f"{name} cannot honour") as caught:
        find_system(settings, lambda: adapter, name, Wishes(granularity=2))
    assert "--baseline control" in caught.value.remedy


def rewritten(adapter: Path, folder: Path, **changed: Any) -> Path:
    """A copy of the adapter whose chooser.json differs."""
    import shutil

    shutil.copytree(adapter, folder)
    about = json.loads((folder / "chooser.json").read_text())
    (folder / "chooser.json").write_text(json.dumps(about | changed))
    return folder


def test_an_adapter_knows_the_languages_it_learned(settings: Settings, adapter: Path) -> None:
    assert load_adapter(adapter, settings.base_models_dir).predictor.languages == {"en"}


def test_an_adapter_of_another_schema_is_refused(settings: Settings, adapter: Path, tmp_path: Path) -> None:
    older = rewritten(adapter, tmp_path / "older", schema_version=2)
    with pytest.raises(InputError, match="has schema version 2"):
        load_adapter(older, settings.base_models_dir)


def test_an_adapter_of_another_base_model_or_prompt_is_refused(
    settings: Settings, adapter: Path, tmp_path: Path
) -> None:
    other_model = rewritten(adapter, tmp_path / "a", base_model={"name": settings.base_model, "hash": "f" * 64})
    with pytest.raises(InputError, match=r"was trained on .* f{12}, here it is"):
        load_adapter(other_model, settings.base_models_dir)
    other_prompt = rewritten(adapter, tmp_path / "b", prompt="0" * 16)
    with pytest.raises(InputError, match="another prompt"):
        load_adapter(other_prompt, settings.base_models_dir)


@pytest.mark.parametrize("content", [None, "", "{", "{}", "[]"])
def test_a_folder_that_is_no_adapter_is_refused_by_name(
    settings: Settings, tmp_path: Path, content: str | None
) -> None:
    if content is not None:
        (tmp_path / "chooser.json").write_text(content)
    with pytest.raises(InputError, match="is not an adapter of this project") as caught:
        load_adapter(tmp_path, settings.base_models_dir)
    assert str(tmp_path) in caught.value.problem
