"""Chapters for a pair of VidChapters files, by any system that the report compares."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from chapter_assets.chapters.chapterlist import Chapter
from chapter_assets.chapters.vidchapters_json import write_videos
from chapter_assets.errors import InputError
from chapter_assets.evaluation.baselines import guess, guesses
from chapter_assets.evaluation.predictions import zero_shot_predictor
from chapter_assets.inference.adapters import load_adapter
from chapter_assets.inference.decoder import Wishes
from chapter_assets.settings import Settings
from chapter_assets.transcripts.segments import Transcript
from chapter_assets.transcripts.vidchapters import JsonFile, parse_asr, parse_record

Predict = Callable[[Transcript], list[Chapter]]


def find_system(settings: Settings, adapter: Callable[[], Path], baseline: str | None, wishes: Wishes) -> Predict:
    """How to predict: by a baseline's name, or without one by the adapter whose folder `adapter` finds.

    Raises InputError for an unknown baseline, and for `wishes` that one cannot honour; an adapter that writes time
    stamps refuses them at the first video.
    """
    if baseline is not None:
        return _baseline(settings, adapter, baseline, wishes)
    loaded = load_adapter(adapter(), settings.base_models_dir)
    return lambda transcript: loaded.predictor.predict(transcript, wishes).chapters


def _baseline(settings: Settings, adapter: Callable[[], Path], name: str, wishes: Wishes) -> Predict:
    kind, _, argument = name.partition(":")
    every = float(argument) if argument.replace(".", "", 1).isdigit() else 0.0
    guessed = kind in (simple := guesses(every)) and (kind == "equal_spacing") == (every >= 1)
    if wishes != Wishes() and (guessed or name == "base_zero_shot"):
        raise InputError(
            f"The baseline {name} cannot honour --count, --min-length or --granularity: it weighs no segments",
            "Leave them out, or use --baseline control, --finetune KEY or --adapter FOLDER",
        )
    if guessed:
        return lambda t: guess(t, simple[kind](t.duration))
    if name == "base_zero_shot":
        zero_shot = zero_shot_predictor(settings)
        return lambda t: zero_shot.predict(t).chapters
    if name == "control":
        control = load_adapter(adapter(), settings.base_models_dir).control
        return lambda t: control.predict(t, wishes).chapters
    raise InputError(
        f"Unknown baseline {name!r}",
        "Use one_chapter, three_equal, equal_spacing:SECONDS (e.g. equal_spacing:120), control or base_zero_shot",
    )


def read_transcripts(chapters: Path, asrs: Path, counts: Counter[str]) -> Iterator[Transcript]:
    """The transcripts of two VidChapters files; of the chapters file only title and duration are read.

    `counts` gains the videos `in`, and those refused, by reason.
    """
    about = {}
    for video_id, raw in JsonFile(chapters):
        if isinstance(raw, dict):  # the lists to be predicted are not looked at, good or bad
            raw = {name: raw[name] for name in ("title", "duration") if name in raw} | {"chapters": {"0": "-"}}
        record, refusals = parse_record(video_id, raw)
        counts["in"] += 1
        if any(r.item == "video" for r in refusals) or record.duration is None:
            counts[f"refused: {next((r.reason for r in refusals), 'duration_invalid')}"] += 1
        else:
            about[video_id] = record
    seen = set()
    for video_id, raw in JsonFile(asrs):
        video = about.get(video_id)
        if video is None or video.duration is None or video_id in seen:
            continue
        seen.add(video_id)
        asr, refusals = parse_asr(video_id, raw, video.duration)
        if any(r.item == "video" for r in refusals):
            counts[f"refused: {next(r.reason for r in refusals if r.item == 'video')}"] += 1
            continue
        yield Transcript(video_id, video.title, video.duration, tuple(asr.segments))
    if without := len(about.keys() - seen):
        counts["refused: no_asr"] += without


def predict_files(
    settings: Settings,
    chapters: Path,
    asrs: Path,
    out: Path,
    adapter: Callable[[], Path],
    baseline: str | None,
    wishes: Wishes,
    on_progress: Callable[[int], None],
) -> Counter[str]:
    """Predict every video that has a transcript and write `out`; returns in, predicted, and refused by reason.

    Raises InputError as `find_system` does, and when `out` cannot be written.
    """
    if out.is_dir():
        raise InputError(f"{out} is a folder", "Give the name of a file to --out")
    if not out.parent.is_dir():
        raise InputError(f"There is no folder {out.parent} to write {out.name} into", "Make it, or give another --out")
    counts: Counter[str] = Counter({"in": 0, "predicted": 0})
    predict = find_system(settings, adapter, baseline, wishes)
    found: dict[str, tuple[float | None, list[Chapter]]] = {}
    for transcript in read_transcripts(chapters, asrs, counts):
        found[transcript.video_id] = (transcript.duration, predict(transcript))
        counts["predicted"] += 1
        on_progress(counts["predicted"])
    write_videos(out, found)
    return counts
