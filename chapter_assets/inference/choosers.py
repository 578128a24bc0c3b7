"""Choosers find where chapters start: each gives a score per segment, or a list of its own making."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from chapter_assets.chapters.timecodes import parse_time
from chapter_assets.errors import InputError
from chapter_assets.inference.decoder import Priors, Wishes, decode
from chapter_assets.inference.engine import Engine
from chapter_assets.inference.head import BoundaryHead, read_states, score_control
from chapter_assets.transcripts.segments import Transcript
from chapter_assets.windows.build import WindowedTranscript, cut_transcript
from chapter_assets.windows.cutting import most_central
from chapter_assets.windows.labels import nearest_start
from chapter_assets.windows.prompts import NO_CHAPTER, PromptBuilder, parse_timed_lines


@dataclass(frozen=True)
class Choice:
    """Segments that start a chapter (indices, rising), the evidence for each segment, and what the model said.

    `scores` are logits, one per segment (None: the chooser has none). `titles` holds the titles that came along with
    the choice, by segment. `valid` tells whether the answer could be used without repair. `confidences` (0 to 1, one
    per start) and `expected_f1` (0 to 100) are the chooser's own belief; None where it has none.
    """

    starts: list[int]
    scores: list[float] | None = None
    titles: dict[int, str] | None = None
    raw: str = ""
    valid: bool = True
    confidences: list[float] | None = None
    expected_f1: float | None = None


class Chooser(Protocol):
    """Finds the starts of one video's chapters."""

    def choose(self, transcript: Transcript, wishes: Wishes | None = None) -> Choice:
        """Raises InputError for wishes that it cannot honour."""
        ...


class ScoringChooser:
    """Scores every segment of a transcript, then decodes the scores into the list with the highest expected F1.

    The decoder expects gold where there are segments; of a video in which nobody speaks for half of the time it knows
    half. So its expected F1 counts for the spoken share: rank correlation with the true F1 from -0.20 to +0.21 on 191
    short videos, from +0.23 to +0.31 on 49 talks (benchmarks/quality/belief.py).
    """

    def __init__(self, priors: Priors) -> None:
        self.priors = priors

    def scores(self, transcript: Transcript) -> NDArray[np.float64]:
        """Logits, one per segment."""
        raise NotImplementedError

    def choose(self, transcript: Transcript, wishes: Wishes | None = None) -> Choice:
        scores = self.scores(transcript)
        starts = [s.start for s in transcript.segments]
        found = decode(starts, list(scores), transcript.duration, self.priors, wishes)
        return Choice(
            found.starts,
            [float(s) for s in scores],
            confidences=found.confidences,
            expected_f1=found.expected_f1 * min(transcript.spoken / transcript.duration, 1.0),
        )


class HeadChooser(ScoringChooser):
    """The language model reads the windows once; a head scores each segment from what it read there."""

    def __init__(
        self, engine: Engine, head: BoundaryHead, builder: PromptBuilder, budget: int, overlap: float, priors: Priors
    ) -> None:
        super().__init__(priors)
        self.engine, self.head, self.builder = engine, head, builder
        self.budget, self.overlap = budget, overlap

    def scores(self, transcript: Transcript) -> NDArray[np.float64]:
        states = read_states(self.engine, self.builder, transcript, self.budget, self.overlap)
        return self.head.score(transcript, states)


class PositionChooser(ScoringChooser):
    """The text-free control: a head fitted the same way on everything but the words."""

    def __init__(self, control: Sequence[float], bounds: NDArray[np.float32], priors: Priors) -> None:
        super().__init__(priors)
        self.control, self.bounds = control, bounds

    def scores(self, transcript: Transcript) -> NDArray[np.float64]:
        return score_control(transcript, self.control, self.bounds)


class GenerateChooser:
    """The language model writes time stamps and titles as text, which are mapped to segment starts."""

    ANSWER_SHARE = 12  # an answer may take a twelfth of the window: seven lines in five minutes of speech

    def __init__(self, engine: Engine, builder: PromptBuilder, budget: int, overlap: float) -> None:
        if not builder.timed:
            raise ValueError("a model that writes time stamps has to see them: use a timed PromptBuilder")
        self.engine, self.builder = engine, builder
        self.budget, self.overlap = budget, overlap

    def choose(self, transcript: Transcript, wishes: Wishes | None = None) -> Choice:
        if wishes not in (None, Wishes()):
            raise InputError(
                "A model that writes time stamps itself cannot be asked for a number, a length or a granularity",
                "Leave the wishes out, or use a finetune whose chooser scores segments (method boundary_head)",
            )
        windowed = cut_transcript(self.builder, transcript, self.budget, self.overlap)
        owner = most_central(windowed.ranges)
        titles: dict[int, str] = {}
        answers, valid = [], True
        for number, segments in enumerate(windowed.ranges):
            answer = self._ask(transcript, windowed, segments)
            answers.append(answer)
            found, clean = self._map(answer, transcript, segments)
            valid = valid and clean
            for index, title in found.items():
                if owner[index] == number:
                    titles.setdefault(index, title)
        starts = sorted(titles)
        if not starts:
            starts = [0]  # no chapter but the whole
        return Choice(starts, None, titles, "\n---\n".join(answers), valid)

    def _ask(self, transcript: Transcript, windowed: WindowedTranscript, segments: range) -> str:
        lines = windowed.lines[segments.start : segments.stop]
        prompt = self.builder.window(transcript.title, lines, segments.start)
        return self.engine.write(prompt.ids, max(self.budget // self.ANSWER_SHARE, 16))

    @staticmethod
    def _map(answer: str, transcript: Transcript, segments: range) -> tuple[dict[int, str], bool]:
        """Segment -> title, and whether the answer was a valid list as it stood."""
        if answer.strip() == NO_CHAPTER:
            return {}, True
        pairs, other = parse_timed_lines(answer)
        starts = [transcript.segments[i].start for i in segments]
        last = transcript.segments[segments.stop - 1].end
        found: dict[int, str] = {}
        clean = bool(pairs) and not other
        before = -1.0
        for code, title in pairs:
            try:
                time = parse_time(code)
            except ValueError:  # 00:75:00: shaped like a time code, and none
                clean = False
                continue
            index = nearest_start(starts, time) if starts[0] - 1 <= time <= last else None
            fresh = index is not None and segments.start + index not in found
            clean = clean and before < time and fresh
            before = time
            if index is not None and fresh:
                found[segments.start + index] = title
        return found, clean


def equal_starts(duration: float, count: int) -> list[float]:
    """Starts (s) of `count` equal chapters."""
    return [duration * i / count for i in range(count)]


def spaced_starts(duration: float, every: float) -> list[float]:
    """Starts (s) of chapters `every` so many seconds."""
    return [float(t) for t in np.arange(0, duration, every)]
