"""What finds boundaries: one table, by nested cross-validation over channels, on folders of VidChapters files.

    .venv/bin/python -m benchmarks.quality.study FOLDER… [--row head --row "words shuffled"] [--seeds 3]

Each row is trained on the channels of four folds (which choose its regularization and priors by cross-fitting among
themselves) and judged on the fifth; the figures are means over several ways to make folds. `skill` is the paired
difference in F1 to the text-free control, with a 95 % interval by channel. What a model reads is kept in
data/store/benchmarks, so that a second run is quick.
"""

import hashlib
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from chapter_assets.chapters.chapterlist import Chapter
from chapter_assets.chapters.metrics import score_video
from chapter_assets.evaluation.bootstrap import difference_interval
from chapter_assets.inference.base_models import fast_dtype, find_base_model, load_causal_lm, load_tokenizer
from chapter_assets.inference.choosers import equal_starts, spaced_starts
from chapter_assets.inference.decoder import Priors, Wishes, decode, probabilities
from chapter_assets.inference.engine import TransformersEngine
from chapter_assets.inference.head import States, read_states, score_control
from chapter_assets.settings import Settings
from chapter_assets.training.boundaries import ReadVideo, fit_control, fit_head
from chapter_assets.transcripts.segments import Segment, Transcript
from chapter_assets.transcripts.vidchapters import JsonFile, parse_asr, parse_record
from chapter_assets.windows.labels import snap
from chapter_assets.windows.prompts import PromptBuilder

LEARNING_CURVE = (25, 50, 100)
AHEAD = (0, 1, 2, 4)
FINEST = 10.0  # s: a list whose chapters are shorter than this on average is left out in one row


@dataclass(frozen=True)
class Video:
    """One video with its gold, and what each way of reading made of it."""

    source: str
    channel: str
    gold: list[Chapter]
    read: dict[str, ReadVideo]

    @property
    def transcript(self) -> Transcript:
        return next(iter(self.read.values())).transcript

    def f1(self, starts: Sequence[float]) -> float:
        """F1 of a list that starts at `starts` (s)."""
        return score_video(self.gold, [Chapter(float(int(t)), "-") for t in starts], self.transcript.duration)["f1"]


Decode = Callable[[Video, "np.ndarray[Any, Any]", Priors], list[int]]


def highest_expected_f1(video: Video, logits: Any, priors: Priors) -> list[int]:
    """The decoder of the project."""
    starts = [s.start for s in video.transcript.segments]
    return decode(starts, list(logits), video.transcript.duration, priors).starts


def without_jitter(video: Video, logits: Any, priors: Priors) -> list[int]:
    """As if gold starts were segments' starts."""
    return highest_expected_f1(video, logits, replace(priors, jitter=0.0))


def likelier_than_not(video: Video, logits: Any, priors: Priors) -> list[int]:
    """Every segment whose probability is one half or more."""
    return [0, *(i for i in np.flatnonzero(probabilities(logits, priors) >= 0.5) if i)]


def expected_count(video: Video, logits: Any, priors: Priors) -> list[int]:
    """The likeliest segments, as many as are expected."""
    chances = probabilities(logits, priors)
    return sorted(map(int, np.argsort(-chances)[: max(1, round(float(chances.sum())))]))


def true_count(video: Video, logits: Any, priors: Priors) -> list[int]:
    """The decoder of the project, told how many chapters there are."""
    starts = [s.start for s in video.transcript.segments]
    wishes = Wishes(count=len(video.gold))
    return decode(starts, list(logits), video.transcript.duration, priors, wishes).starts


@dataclass(frozen=True)
class Row:
    """A way to find boundaries. `way`: of reading; `most`: training videos; `train`: which videos may teach."""

    way: str = "middle"
    control: bool = False
    ahead: int | None = None  # only the state at the end of this many segments on (0: of the one before)
    most: int | None = None
    choose: Decode = highest_expected_f1
    train: Callable[[Video, Video], bool] = lambda video, judged: True


def same_kind(video: Video, judged: Video) -> bool:
    """Both under ten minutes, or both longer."""
    return (video.transcript.duration < 600) == (judged.transcript.duration < 600)


def not_too_fine(video: Video, judged: Video) -> bool:
    return video.transcript.duration / len(video.gold) >= FINEST


ROWS = {
    "text-free control": Row(control=True),
    "head": Row(),
    "words shuffled": Row("shuffled"),
    "head on the last block": Row("last_block"),
    "times in the text": Row("timed"),
    **{f"segment ends only, {k} ahead": Row(ahead=k) for k in AHEAD},
    "threshold 0.5": Row(choose=likelier_than_not),
    "likeliest, as many as expected": Row(choose=expected_count),
    "decoder without jitter": Row(choose=without_jitter),
    "decoder told the true count": Row(choose=true_count),
    "own kind only": Row(train=same_kind),
    f"without lists finer than {FINEST:.0f} s": Row(train=not_too_fine),
    **{f"head, {most} videos": Row(most=most) for most in LEARNING_CURVE},
}


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
        self.builder, self.timed = PromptBuilder(tokenizer, timed=False), PromptBuilder(tokenizer, timed=True)
        self.engine = TransformersEngine(load_causal_lm(self.base, fast_dtype()), tokenizer)
        self.lower = self.engine._reader
        self.seconds: Counter[str] = Counter()
        self.hours: Counter[str] = Counter()

    def __call__(self, way: str, transcript: Transcript) -> States:
        text = shuffled(transcript) if way == "shuffled" else transcript
        builder = self.timed if way == "timed" else self.builder
        blocks = len((self.engine.model.model if way == "last_block" else self.lower).layers)
        name = hashlib.sha256(repr((text, blocks, self.base.hash, builder.fingerprint)).encode()).hexdigest()
        path = self.settings.store_dir / "benchmarks" / f"{name[:24]}.npz"
        if not path.exists():
            self.engine._reader = self.engine.model.model if way == "last_block" else self.lower
            budget, overlap = self.settings.window_tokens, self.settings.window_overlap
            began = time.perf_counter()
            states = read_states(self.engine, builder, text, budget, overlap)
            self.seconds[way] += time.perf_counter() - began
            self.hours[way] += transcript.duration / 3600
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez(path, mean=states.mean.astype(np.float16), last=states.last.astype(np.float16))
        with np.load(path) as kept:
            return States(kept["mean"].astype(np.float32), kept["last"].astype(np.float32))


def read_folders(reader: Reader, folders: Sequence[Path], ways: Sequence[str]) -> list[Video]:
    """The usable videos of the folders, read in each of the ways."""
    videos = []
    for folder in folders:
        for transcript, channel, gold in load(folder):
            placed, _ = snap(gold, [s.start for s in transcript.segments])
            labels = np.array([i in placed for i in range(len(transcript.segments))])
            offsets = [c.start - transcript.segments[i].start for i, c in placed.items() if c.start >= 1]
            read = {}
            for way in ways:
                states = reader(way, transcript)
                read[way] = ReadVideo(transcript, channel, states, labels, np.ones_like(labels), 1.0, offsets)
            videos.append(Video(folder.name, channel, gold, read))
            if len(videos) % 20 == 0:
                print(f"read {len(videos)} videos", file=sys.stderr, flush=True)
    return videos


def seen_by(row: Row, video: Video) -> ReadVideo:
    """What a row's head gets of a video."""
    read = video.read[row.way if row.way in video.read else "middle"]
    if row.ahead is None or read.states is None:
        return read
    last = read.states.last
    index = np.clip(np.arange(len(last)) - 1 + row.ahead, 0, len(last) - 1)
    return replace(read, states=States(np.zeros_like(last), last[index]))


def judge(row: Row, videos: list[Video], folds: np.ndarray) -> np.ndarray:
    """F1 of each video when it is in the judged fold."""
    scores = np.zeros(len(videos))
    for fold in range(folds.max() + 1):
        judged = [i for i in np.flatnonzero(folds == fold)]
        for kind in {same_kind(videos[i], videos[0]) for i in judged} if row.train is same_kind else {None}:
            these = [i for i in judged if kind is None or same_kind(videos[i], videos[0]) == kind]
            train = [v for v, f in zip(videos, folds, strict=True) if f != fold and row.train(v, videos[these[0]])]
            if row.most is not None:
                train = [train[i] for i in np.random.default_rng(fold).permutation(len(train))[: row.most]]
            read = [seen_by(row, v) for v in train]
            control, head = (fit_control(read), None) if row.control else (None, fit_head(read))
            for i in these:
                video = seen_by(row, videos[i])
                if control is not None:
                    logits, priors = score_control(video.transcript, control.weights, control.bounds), control.priors
                elif head is not None and video.states is not None:
                    logits, priors = head.head.score(video.transcript, video.states), head.priors
                segments = video.transcript.segments
                scores[i] = videos[i].f1([segments[k].start for k in row.choose(videos[i], logits, priors)])
    return scores


def fold_of(videos: list[Video], folds: int, seed: int) -> np.ndarray:
    """A fold for each video: whole channels, or single videos where there are fewer channels than folds."""
    groups = [v.channel for v in videos]
    if len(set(groups)) < folds:
        groups = [v.transcript.video_id for v in videos]
    names = sorted(set(groups))
    order = np.random.default_rng(seed).permutation(len(names))
    number = {name: int(place) % folds for name, place in zip(names, order, strict=True)}
    return np.array([number[g] for g in groups])


def _task(task: tuple[str, int, int]) -> np.ndarray:
    name, folds, seed = task
    return judge(ROWS[name], _videos, fold_of(_videos, folds, seed))


_videos: list[Video] = []  # filled before the processes fork


def main(
    folders: Annotated[list[Path], typer.Argument(help="Folders with chapters.json and asrs.json")],
    folds: Annotated[int, typer.Option(help="Folds of the cross-validation")] = 5,
    seeds: Annotated[int, typer.Option(help="Ways to make the folds; the figures are means over them")] = 3,
    row: Annotated[list[str] | None, typer.Option(help="A row to compute; repeat it; all by default")] = None,
    jobs: Annotated[int, typer.Option(help="Processes")] = 2,
) -> None:
    """Print the table."""
    wanted = list(dict.fromkeys(["text-free control", *(row or ROWS)]))
    if unknown := [name for name in wanted if name not in ROWS]:
        raise typer.BadParameter(f"no such rows: {unknown}; there are {list(ROWS)}")
    reader = Reader(Settings())
    ways = list(dict.fromkeys(["middle", *(ROWS[name].way for name in wanted)]))
    _videos.extend(read_folders(reader, folders, ways))
    durations = [v.transcript.duration for v in _videos]
    hours = sum(durations) / 3600
    print(f"{len(_videos)} videos, {len({v.channel for v in _videos})} channels, {hours:.1f} hours; {folds} folds\n")

    table: dict[str, np.ndarray] = {}
    with ProcessPoolExecutor(jobs, mp_context=get_context("fork")) as pool:
        tasks = [(name, folds, seed) for name in wanted for seed in range(seeds)]
        for (name, _, _), scores in zip(tasks, pool.map(_task, tasks), strict=True):
            table[name] = table.get(name, np.zeros(len(_videos))) + scores / seeds
            print(f"{name}: {scores.mean():.1f}", file=sys.stderr, flush=True)
    for count in (1, 3):
        table[f"{count} equal chapters"] = np.array([v.f1(equal_starts(v.transcript.duration, count)) for v in _videos])
    for every in (28, 60, 120, 240, 420):
        table[f"one every {every} s"] = np.array([v.f1(spaced_starts(v.transcript.duration, every)) for v in _videos])
    _print(_videos, table)
    costs = (f"{way} {reader.seconds[way] / hours:.1f} s" for way, hours in reader.hours.items())
    print(f"\nReading an hour of video: {', '.join(costs) or 'all was kept from a run before'}")


def _print(videos: list[Video], rows: dict[str, np.ndarray]) -> None:
    sources = list(dict.fromkeys(v.source for v in videos))
    parts: dict[str, Any] = {source: np.array([v.source == source for v in videos]) for source in sources}
    if len(sources) > 1:
        parts["all"] = np.ones(len(videos), bool)
    print("| row | " + " | ".join(f"{s}: F1 | skill (95 %)" for s in parts) + " |")
    print("| --- |" + " ---: | ---: |" * len(parts))
    for name, scores in rows.items():
        cells = []
        for part in parts.values():
            channels = [v.channel for v, here in zip(videos, part, strict=True) if here]
            difference = difference_interval(scores[part], rows["text-free control"][part], channels)
            span = "" if difference.low is None else f" ({difference.low:+.1f} to {difference.high:+.1f})"
            cells += [f"{scores[part].mean():.1f}", f"{difference.value:+.1f}{span}"]
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    typer.run(main)
