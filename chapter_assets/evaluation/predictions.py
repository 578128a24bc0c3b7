"""Every system's predictions for the judged videos, and the finetuned one's for unlabelled ones, resumable."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from chapter_assets.chapters.chapterlist import Chapter
from chapter_assets.evaluation.baselines import LABELS, Times, best_spacing, guess, guesses
from chapter_assets.inference.adapters import load_adapter
from chapter_assets.inference.base_models import find_base_model
from chapter_assets.inference.choosers import GenerateChooser
from chapter_assets.inference.engine import TransformersEngine
from chapter_assets.inference.predictor import Prediction, Predictor
from chapter_assets.inference.score import unsupported_words
from chapter_assets.inference.titlers import LexicalTitler
from chapter_assets.settings import Settings
from chapter_assets.store import Artifact
from chapter_assets.transcripts.segments import Transcript
from chapter_assets.transcripts.tables import read_chapters, read_transcripts
from chapter_assets.windows.prompts import PromptBuilder

PREDICTIONS = pa.schema(
    [
        ("system", pa.string()),
        ("video_id", pa.string()),
        ("shard", pa.string()),
        ("channel", pa.string()),
        ("split", pa.string()),
        ("title", pa.string()),
        ("duration", pa.float64()),
        ("chapters", pa.list_(pa.struct([("start", pa.float64()), ("title", pa.string())]))),
        ("scores", pa.list_(pa.float32())),
        ("confidences", pa.list_(pa.float32())),
        ("expected_f1", pa.float64()),
        ("score", pa.float64()),
        ("unsupported", pa.list_(pa.string())),
        ("raw", pa.string()),
        ("valid_before_repair", pa.bool_()),
        ("repairs", pa.list_(pa.string())),
        ("seconds", pa.float64()),
    ]
)


def judged_gold(training_set: Artifact, split: str) -> dict[str, tuple[float, list[Chapter]]]:
    """Video id -> (duration s, gold chapters) of the judged videos of one split."""
    chapters = read_chapters(training_set.table("chapters"))
    return {
        row["video_id"]: (row["duration"], chapters[row["video_id"]])
        for row in training_set.table("videos").to_pylist()
        if row["split"] == split
    }


def zero_shot_predictor(settings: Settings) -> Predictor:
    """The base model as it comes, asked in words for time stamps and titles."""
    engine = TransformersEngine.load(find_base_model(settings.base_model, settings.base_models_dir))
    builder = PromptBuilder(engine.tokenizer, timed=True)
    return Predictor(GenerateChooser(engine, builder, settings.window_tokens, settings.window_overlap), LexicalTitler())


def predict_all(
    settings: Settings,
    training_set: Artifact,
    adapter: Path,
    zero_shot: bool,
    work: Path,
    note: Callable[[str], None],
    unlabelled: Sequence[tuple[dict[str, Any], Transcript]] = (),
    against: Mapping[str, Path] | None = None,
) -> pa.Table:
    """Predict every gate video with every system: the guesses, the base model, the control, the finetuned one.

    So do the adapters in the folders of `against`, by system name: the champion and the anchor.

    The finetuned one also predicts the `unlabelled` videos, given as the row of `videos` and the transcript.
    Each row is written to `work` when it is done; a run that was killed goes on after the last one.
    """
    videos = {row["video_id"]: row for row in training_set.table("videos").to_pylist()}
    gate = [
        (videos[t.video_id], t)
        for t in read_transcripts(training_set.table("videos"), training_set.table("transcripts"))
        if videos[t.video_id]["split"] == "gate"
    ]
    spacing = best_spacing(judged_gold(training_set, "validation"))
    rows: list[dict[str, Any]] = []
    journal = work / "predictions.jsonl"
    done = {(row["system"], row["video_id"]): row for row in _read_journal(journal)}
    with journal.open("a", encoding="utf-8") as file:
        for system, predict in _systems(settings, adapter, zero_shot, spacing, against or {}):
            asked = [*gate, *unlabelled] if system == "finetuned" else gate
            for number, (video, transcript) in enumerate(asked, start=1):
                row = done.get((system, transcript.video_id))
                if row is None:
                    row = _row(system, video, transcript, predict(transcript))
                    file.write(json.dumps(row) + "\n")
                    file.flush()
                    if number == len(asked) or (number % 10 == 0 and system not in LABELS):
                        note(f"{system}: {number} of {len(asked)} videos")
                rows.append(row)
    return pa.Table.from_pylist(rows, schema=PREDICTIONS)


def _systems(
    settings: Settings, adapter: Path, zero_shot: bool, spacing: float, against: Mapping[str, Path]
) -> Iterator[tuple[str, Callable[[Transcript], Prediction]]]:
    """Each system's name and how it predicts; a model is loaded when its turn comes, and let go after it."""

    def guessing(times: Times) -> Callable[[Transcript], Prediction]:
        def predict(transcript: Transcript) -> Prediction:
            began = time.perf_counter()
            chapters = guess(transcript, times(transcript.duration))
            return Prediction(transcript.video_id, chapters, None, "", True, [], time.perf_counter() - began)

        return predict

    for system, times in guesses(spacing).items():
        yield system, guessing(times)
    if zero_shot:
        yield "base_zero_shot", zero_shot_predictor(settings).predict
    for system, folder in against.items():
        yield system, load_adapter(folder, settings.base_models_dir).predictor.predict
    loaded = load_adapter(adapter, settings.base_models_dir)
    yield "control", loaded.control.predict
    yield "finetuned", loaded.predictor.predict


def _row(system: str, video: dict[str, Any], transcript: Transcript, prediction: Prediction) -> dict[str, Any]:
    return {
        "system": system,
        "video_id": video["video_id"],
        "shard": video["shard"],
        "channel": video["channel_id"],
        "split": video["split"],
        "title": video["title"],
        "duration": video["duration"],
        "chapters": [asdict(c) for c in prediction.chapters],
        "scores": prediction.scores,
        "confidences": prediction.confidences,
        "expected_f1": prediction.expected_f1,
        "score": None if prediction.score is None else prediction.score.total,
        "unsupported": [word for found in unsupported_words(transcript, prediction.chapters) for word in found],
        "raw": prediction.raw,
        "valid_before_repair": prediction.valid_before_repair,
        "repairs": prediction.repairs,
        "seconds": prediction.seconds,
    }


def _read_journal(path: Path) -> Sequence[dict[str, Any]]:
    """The rows that were written whole; the line that a kill cut is dropped from the file."""
    if not path.exists():
        return []
    rows, good = [], 0
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            try:
                rows.append(json.loads(line))
            except ValueError:
                break
            good += len(line)
    with path.open("rb+") as file:
        file.truncate(good)
    return rows
