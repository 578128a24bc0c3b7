"""The predictor: chooser + titler -> one valid chapter list per video, and what it took."""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from chapter_assets.chapters.chapterlist import Chapter, problems
from chapter_assets.inference.choosers import Choice, Chooser
from chapter_assets.inference.decoder import Wishes
from chapter_assets.inference.score import ListScore, score_list
from chapter_assets.inference.titlers import LexicalTitler, Titler, is_said, tidy_title
from chapter_assets.transcripts.language import language_of
from chapter_assets.transcripts.segments import Transcript


@dataclass(frozen=True)
class Prediction:
    """A valid chapter list (starts are floored segment starts, s), and how it came about.

    `valid_before_repair`: neither the choice nor a title needed mending. `scores`: logits per segment, if any.
    `confidences` (0 to 1, one per chapter), `expected_f1` (0 to 100) and `score`: what the model believes of its own
    list, and how that looks with the faults that can be seen; None where the chooser has no belief.
    """

    video_id: str
    chapters: list[Chapter]
    scores: list[float] | None
    raw: str
    valid_before_repair: bool
    repairs: list[str]
    seconds: float
    confidences: list[float] | None = None
    expected_f1: float | None = None
    score: ListScore | None = None


class Predictor:
    """Chapters for one transcript at a time; chooser and titler are replaceable alone.

    Transcripts in other `languages` (ISO 639-1; None: there are no others) get titles in their own words.
    """

    def __init__(self, chooser: Chooser, titler: Titler, languages: Collection[str] | None = None) -> None:
        self.chooser, self.titler, self.languages = chooser, titler, languages

    def predict(self, transcript: Transcript, wishes: Wishes | None = None) -> Prediction:
        """One valid list, whatever the model says; what had to be mended is listed.

        Raises InputError for wishes that the chooser cannot honour.
        """
        began = time.perf_counter()
        choice = self.chooser.choose(transcript, wishes)
        starts = self._apart(transcript, choice.starts)
        lexical = LexicalTitler().titles(transcript, starts)
        raw_titles = self._titles(transcript, choice, starts) if self._speaks(transcript) else lexical
        repairs = [] if choice.valid else ["boundaries"]
        chapters: list[Chapter] = []
        for start, raw, phrase in zip(starts, raw_titles, lexical, strict=True):
            title = tidy_title(raw)
            said = [c.title for c in chapters]
            if not any(c.isalnum() for c in title) or (len(starts) > 1 and is_said(title, transcript.title, said)):
                title = phrase
            if title != raw.strip():
                repairs.append(f"title at {transcript.segments[start].start:.0f} s: {raw[:60]!r}")
            chapters.append(Chapter(float(int(transcript.segments[start].start)), title))
        if wrong := problems(chapters, transcript.duration):
            raise AssertionError(f"{transcript.video_id}: {'; '.join(wrong)}")
        confidences = score = None
        if choice.confidences is not None:
            confidence_of = dict(zip(choice.starts, choice.confidences, strict=True))
            confidences = [confidence_of[index] for index in starts]
        if choice.expected_f1 is not None:
            score = score_list(transcript, chapters, choice.expected_f1, not repairs)
        return Prediction(
            transcript.video_id,
            chapters,
            choice.scores,
            choice.raw or "\n".join(raw_titles),
            not repairs,
            repairs,
            time.perf_counter() - began,
            confidences,
            choice.expected_f1,
            score,
        )

    def _speaks(self, transcript: Transcript) -> bool:
        """Whether the model's titles are to be taken; of a text too short to tell its language it makes them up."""
        return self.languages is None or language_of(transcript.segments) in self.languages

    @staticmethod
    def _apart(transcript: Transcript, starts: Sequence[int]) -> list[int]:
        """The starts that lie in a whole second of their own."""
        kept: list[int] = []
        for index in starts:
            if not kept or int(transcript.segments[index].start) > int(transcript.segments[kept[-1]].start):
                kept.append(index)
        return kept

    def _titles(self, transcript: Transcript, choice: Choice, starts: Sequence[int]) -> list[str]:
        if choice.titles is None:
            return self.titler.titles(transcript, starts)
        return [choice.titles.get(index, "") for index in starts]
