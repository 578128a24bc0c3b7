"""Titlers write one title for each chosen chapter, from the chapter's own text and the titles before it."""

import re
from collections.abc import Sequence
from typing import Protocol

from chapter_assets.chapters.title_metrics import words
from chapter_assets.inference.engine import Engine
from chapter_assets.inference.phrases import best_phrases
from chapter_assets.transcripts.segments import Segment, Transcript, clean_text
from chapter_assets.windows.prompts import TITLE_REQUEST, PromptBuilder

_TIME_STAMP = re.compile(r"^\W*\d{1,2}:\d{2}(?::\d{2})?\W*|\W*\d{1,2}:\d{2}(?::\d{2})?\W*$")
_PREAMBLE = re.compile(
    r"^(?:here (?:is|are)\b[^:]*:|(?:the |its )?(?:chapter )?title(?: is)?:|sure[,!.][^:]*:)\s*", re.I
)
MOST_TITLE_TOKENS = 24
MOST_TITLE_WORDS = 12
MOST_TITLE_CHARACTERS = 100  # where words are not parted by spaces


class Titler(Protocol):
    """Writes the titles of one video's chapters."""

    def titles(self, transcript: Transcript, starts: Sequence[int]) -> list[str]:
        """One raw title for each chapter, in order; `starts` are the segments that they start at."""
        ...


def chapter_segments(transcript: Transcript, starts: Sequence[int]) -> list[Sequence[Segment]]:
    """The segments of each chapter."""
    stops = [*starts[1:], len(transcript.segments)]
    return [transcript.segments[a:b] for a, b in zip(starts, stops, strict=True)]


def tidy_title(raw: str) -> str:
    """A title fit to show: one line, no time stamps, preamble or quotes around it, at most 12 words; may be empty.

    Where it has to be cut, it does not end in the middle of a phrase; the request itself is no title.
    """
    return next(filter(None, map(_tidy_line, raw.splitlines())), "")


def count_preambles(raw: str) -> int:
    """In how many lines of a model's answers `tidy_title` finds a preamble (`Here is …:`, `Title:`) to take off."""
    return sum(_PREAMBLE.match(clean_text(line)) is not None for line in raw.splitlines())


def _tidy_line(line: str) -> str:
    title = _TIME_STAMP.sub("", _PREAMBLE.sub("", clean_text(line))).rstrip(".,;: ")
    title = title.strip(" \t\"'“”‘’*#-–—•").rstrip(".,;:")
    if words(title) == words(TITLE_REQUEST):
        return ""
    said = title.split()
    kept = said[:MOST_TITLE_WORDS]
    if len(said) > len(kept):
        from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

        while len(kept) > 1 and kept[-1].casefold() in ENGLISH_STOP_WORDS:
            kept.pop()
    return " ".join(kept)[:MOST_TITLE_CHARACTERS].rstrip()


class ModelTitler:
    """The language model writes the titles."""

    def __init__(self, engine: Engine, builder: PromptBuilder) -> None:
        self.engine, self.builder = engine, builder

    def titles(self, transcript: Transcript, starts: Sequence[int]) -> list[str]:
        raw: list[str] = []
        for segments in chapter_segments(transcript, starts):
            lines = self.builder.lines(segments)
            earlier = [t for t in map(tidy_title, raw) if t]
            answer = self._ask(transcript.title, lines, earlier)
            if is_said(tidy_title(answer), transcript.title, earlier):  # small models copy what stands in the prompt
                answer = self._ask("", lines, [])
            raw.append(answer)
        return raw

    def _ask(self, video_title: str, lines: Sequence[list[int]], earlier: Sequence[str]) -> str:
        return self.engine.write(self.builder.title_request(video_title, lines, earlier), MOST_TITLE_TOKENS)


def is_said(title: str, video_title: str, earlier: Sequence[str]) -> bool:
    """Whether a chapter's title only repeats the words of the video's or of an earlier chapter's."""
    return words(title) in [words(t) for t in (video_title, *earlier)]


class LexicalTitler:
    """The phrase that sets a chapter's text apart from the others', in the transcript's own words: needs no model."""

    def titles(self, transcript: Transcript, starts: Sequence[int]) -> list[str]:
        texts = [" ".join(s.text for s in segments) for segments in chapter_segments(transcript, starts)]
        return [
            phrase[:MOST_TITLE_CHARACTERS].rstrip() or extractive_title(text)
            for phrase, text in zip(best_phrases(texts), texts, strict=True)
        ]


def extractive_title(text: str) -> str:
    """The first words of a chapter's text, in whatever language it is."""
    return " ".join(clean_text(text).split()[:6])[:MOST_TITLE_CHARACTERS].rstrip() or "…"
