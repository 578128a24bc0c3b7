"""What finds boundaries: one table, by cross-validation over channels, on folders of VidChapters files.

    .venv/bin/python -m benchmarks.quality.study FOLDER… [--folds 5] [--rows head,control,…]

Each row is trained on the channels of three folds, its regularization and priors come from a fourth, and it is judged
on the fifth. `skill` is the paired difference in F1 to the text-free control, with a 95 % interval by channel.
What a model reads is kept in data/store/benchmarks, so that a second run is quick.
"""

import hashlib
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from chapter_assets.chapters.chapterlist import Chapter
from chapter_assets.chapters.metrics import score_video
from chapter_assets.evaluation.bootstrap import difference_interval, mean_interval
from chapter_assets.inference.base_models import fast_dtype, find_base_model, load_causal_lm, load_tokenizer
from chapter_assets.inference.choosers import equal_starts, spaced_starts
from chapter_assets.inference.decoder import decode
from chapter_assets.inference.engine import TransformersEngine
from chapter_assets.inference.head import States, read_states, score_control
from chapter_assets.settings import Settings
from chapter_assets.training.boundaries import ReadVideo, fit_control, fit_head
from chapter_assets.transcripts.segments import Segment, Transcript
from chapter_assets.transcripts.vidchapters import JsonFile, parse_asr, parse_record
from chapter_assets.windows.labels import snap
from chapter_assets.windows.prompts import PromptBuilder

READS = ("head", "last_block", "shuffled_text")
LEARNING_CURVE = (25, 50, 100)


@dataclass(frozen=True)
class Video:
    """One video with its gold, and what each way of reading made of it."""

    source: str
    channel: str
    gold: list[Chapter]
    read: dict[str, ReadVideo]


def load(folder: Path) -> list[tuple[Transcript, str, list[Chapter]]]:
    """The usable videos of a folder: transcript, channel, gold."""
    about = {video_id: parse_record(video_id, raw)[0] for video_id, raw in JsonFile(folder / "chapters.json", True)}
    found = []
    for video_id, raw in JsonFile(folder / "asrs.json"):
        video = about.get(video_id)
        if video is None or video.duration is None or not video.chapters:
            continue
        asr, refusals = parse_asr(video_id, raw, video.duration)
        if asr.segments and not any(r.item == "video" for r in refusals):
            transcript = Transcript(video_id, video.title, video.duration, tuple(asr.segments))
            found.append((transcript, video.channel_id or folder.name, list(video.chapters)))
    return found


def shuffled(transcript: Transcript) -> Transcript:
    """The same times with the texts in another order: a head that reads must fall to the control."""
    order = np.random.default_rng(int(hashlib.sha256(transcript.video_id.encode()).hexdigest()[:8], 16))
    texts = order.permutation([s.text for s in transcript.segments])
    segments = tuple(Segment(s.start, s.end, str(t)) for s, t in zip(transcript.segments, texts, strict=True))
    return replace(transcript, segments=segments)


class Reader:
    """Reads transcripts with the base model, and keeps what it read on disk."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.base = find_base_model(settings.base_model, settings.base_models_dir)
        tokenizer = load_tokenizer(self.base)
        self.builder = PromptBuilder(tokenizer, timed=False)
        self.engine = TransformersEngine(load_causal_lm(self.base, fast_dtype()), tokenizer)
        self.half = self.engine._reader

    def __call__(self, way: str, transcript: Transcript) -> States:
        text = shuffled(transcript) if way == "shuffled_text" else transcript
        depth = "full" if way == "last_block" else "half"
        name = hashlib.sha256(repr((text, depth, self.base.hash, self.builder.fingerprint)).encode()).hexdigest()
        path = self.settings.store_dir / "benchmarks" / f"{name[:24]}.npz"
        if not path.exists():
            self.engine._reader = self.engine.model.model if depth == "full" else self.half
            budget, overlap = self.settings.window_tokens, self.settings.window_overlap
            states = read_states(self.engine, self.builder, text, budget, overlap)
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez(path, mean=states.mean.astype(np.float16), last=states.last.astype(np.float16))
        with np.load(path) as kept:
            return States(kept["mean"].astype(np.float32), kept["last"].astype(np.float32))


def f1(video: Video, starts: list[float]) -> float:
    duration = next(iter(video.read.values())).transcript.duration
    return score_video(video.gold, [Chapter(float(int(t)), "-") for t in starts], duration)["f1"]


def judge(
    videos: list[Video], folds: np.ndarray, way: str, control: bool = False, most: int | None = None
) -> np.ndarray:
    """F1 of each video when it is in the judged fold; `most`: at most so many training videos."""
    scores = np.zeros(len(videos))
    count = folds.max() + 1
    for fold in range(count):
        held = (fold + 1) % count
        train = [v.read[way] for v, f in zip(videos, folds, strict=True) if f not in (fold, held)]
        if most is not None:
            train = [train[i] for i in np.random.default_rng(fold).permutation(len(train))[:most]]
        validation = [v.read[way] for v, f in zip(videos, folds, strict=True) if f == held]
        fitted = None if control else fit_head(train, validation)
        plain = fit_control(train, validation) if control else None
        for index in np.flatnonzero(folds == fold):
            read = videos[index].read[way]
            starts = [s.start for s in read.transcript.segments]
            if plain is not None:
                logits, priors = score_control(read.transcript, plain.weights), plain.priors
            elif fitted is not None and read.states is not None:
                logits, priors = fitted.head.score(read.transcript, read.states), fitted.priors
            chosen = decode(starts, list(logits), read.transcript.duration, priors).starts
            scores[index] = f1(videos[index], [starts[i] for i in chosen])
    return scores


def fold_of(videos: list[Video], folds: int) -> np.ndarray:
    """A fold for each video: whole channels, or single videos where there are fewer channels than folds."""
    groups = [v.channel for v in videos]
    if len(set(groups)) < folds:
        groups = [v.read["head"].transcript.video_id for v in videos]
    names = sorted(set(groups))
    order = np.random.default_rng(0).permutation(len(names))
    number = {name: int(place) % folds for name, place in zip(names, order, strict=True)}
    return np.array([number[g] for g in groups])


def main(
    folders: Annotated[list[Path], typer.Argument(help="Folders with chapters.json and asrs.json")],
    folds: Annotated[int, typer.Option(help="Folds of the cross-validation")] = 5,
    ways: Annotated[str, typer.Option("--rows", help="Ways of reading to compare, by comma")] = ",".join(READS),
    curve: Annotated[bool, typer.Option(help="Also the learning curve")] = True,
) -> None:
    """Print the table."""
    reader = Reader(Settings())
    wanted = ["head", *(w for w in ways.split(",") if w != "head")]
    videos: list[Video] = []
    seconds: Counter[str] = Counter()
    for folder in folders:
        for transcript, channel, gold in load(folder):
            placed, _ = snap(gold, [s.start for s in transcript.segments])
            labels = np.array([i in placed for i in range(len(transcript.segments))])
            read = {}
            for way in wanted:
                began = time.perf_counter()
                states = reader(way, transcript)
                seconds[way] += time.perf_counter() - began
                read[way] = ReadVideo(transcript, states, labels, np.ones_like(labels), 1.0)
            videos.append(Video(folder.name, channel, gold, read))
    number = fold_of(videos, folds)
    hours = sum(v.read["head"].transcript.duration for v in videos) / 3600
    print(f"{len(videos)} videos, {len({v.channel for v in videos})} channels, {hours:.1f} hours; {folds} folds\n")

    rows: dict[str, np.ndarray] = {"text-free control": judge(videos, number, "head", control=True)}
    durations = [v.read["head"].transcript.duration for v in videos]
    rows["three equal chapters"] = np.array([f1(v, equal_starts(d, 3)) for v, d in zip(videos, durations, strict=True)])
    for every in (28, 60, 120, 240, 420):
        rows[f"one every {every} s"] = np.array(
            [f1(v, spaced_starts(d, every)) for v, d in zip(videos, durations, strict=True)]
        )
    for way in wanted:
        rows[way.replace("_", " ")] = judge(videos, number, way)
    if curve:
        for most in LEARNING_CURVE:
            if most < len(videos) * (folds - 2) / folds:
                rows[f"head, {most} videos"] = judge(videos, number, "head", most=most)
    _print(videos, rows, seconds, hours)


def _print(videos: list[Video], rows: dict[str, np.ndarray], seconds: Counter[str], hours: float) -> None:
    sources = list(dict.fromkeys(v.source for v in videos))
    parts: dict[str, Any] = {source: np.array([v.source == source for v in videos]) for source in sources}
    print("| row | " + " | ".join(f"{s}: F1 | skill (95 %)" for s in sources) + " |")
    print("| --- |" + " ---: | ---: |" * len(sources))
    for name, scores in rows.items():
        cells = []
        for part in parts.values():
            channels = [v.channel for v, here in zip(videos, part, strict=True) if here]
            mean = mean_interval(scores[part], channels)
            difference = difference_interval(scores[part], rows["text-free control"][part], channels)
            span = "" if difference.low is None else f" ({difference.low:+.1f} to {difference.high:+.1f})"
            cells += [f"{mean.value:.1f}", f"{difference.value:+.1f}{span}"]
        print(f"| {name} | " + " | ".join(cells) + " |")
    costs = ", ".join(f"{way} {spent / hours:.1f} s" for way, spent in seconds.items())
    print(f"\nReading an hour of video (0 when kept from a run before): {costs}")


if __name__ == "__main__":
    typer.run(main)
