"""The one prompt builder: the same tokens for training and for serving, whatever the model and the chooser.

Text is tokenized piece by piece (a line of the transcript, a title) and the pieces are joined as token ids, so that
a line costs the same in any window and is tokenized once per transcript.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from chapter_assets.chapters.chapterlist import Chapter
from chapter_assets.chapters.timecodes import format_time
from chapter_assets.transcripts.segments import Segment

NO_CHAPTER = "none"  # what a model answers for a window in which no chapter starts
TITLE_REQUEST = "Write a title for this."
MAX_LINE_TOKENS = 96  # 99.9 % of real sentences are shorter; what is longer is a loop or lacks its stops
MAX_VIDEO_TITLE_TOKENS = 32
MAX_CHAPTER_TEXT_TOKENS = 160  # of a chapter's text, when its title is asked for
EARLIER_TITLES = 3
_SYSTEM = "You write chapters."
_MARK = "\u241e"  # stands for the content while the chat template is split around it
_FALLBACK_TEMPLATE = "{% for m in messages %}### {{ m['role'] }}\n{{ m['content'] }}\n{% endfor %}### assistant\n"

_TIMED_LINE = re.compile(r"\W*(\d{1,2}:\d{2}(?::\d{2})?)\W*(?:-|–|—|:)?\s*(.*)")


@dataclass(frozen=True)
class WindowPrompt:
    """Token ids of a window, and where in them each segment's line ends (index of its last token)."""

    ids: list[int]
    line_ends: list[int]


class PromptBuilder:
    """Builds the prompts for one tokenizer.

    `timed` writes the segment's start before each line, for a model that answers with time stamps. A head that
    scores segments gets times as numbers and needs none in the text (they would cost 40 % of the tokens).
    """

    def __init__(self, tokenizer: Any, timed: bool) -> None:
        self.tokenizer = tokenizer
        self.timed = timed
        template = None if tokenizer.chat_template else _FALLBACK_TEMPLATE
        # Our own system message: without one, some templates put in an advertisement for the model.
        messages = [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": _MARK}]
        try:
            rendered = self._render(messages, template)
        except Exception:  # templates raise what they like when they know no system role
            rendered = self._render(messages[1:], template)
        before, after = rendered.split(_MARK)
        self._before, self._after = self._ids(before, special=True), self._ids(after, special=True)

    def _render(self, messages: list[dict[str, str]], template: str | None) -> str:
        rendered: str = self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, chat_template=template
        )
        return rendered

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all that shapes the tokens: vocabulary, template, wording. Recorded with every window."""
        vocabulary = json.loads(self.tokenizer.backend_tokenizer.to_str())
        parts = [
            json.dumps(vocabulary | {"padding": None, "truncation": None}, sort_keys=True),  # those two change with use
            repr((self._before, self._after, self.timed)),
            repr(self.window("t", [[0]], first=0)),
            repr(self.title_request("t", [[0]], ["e"])),
        ]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    def _ids(self, text: str, special: bool = False) -> list[int]:
        """Tokens of a piece of text; what looks like a special token in a transcript stays plain text."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, split_special_tokens=not special)["input_ids"]
        return ids

    def lines(self, segments: Sequence[Segment]) -> list[list[int]]:
        """Token ids of each segment's line, tokenized in one batch; a line is cut at MAX_LINE_TOKENS."""
        if not segments:
            return []
        texts = [f"{format_time(s.start)} {s.text}" if self.timed else s.text for s in segments]
        batch: list[list[int]] = self.tokenizer(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        newline = self._ids("\n")
        return [ids[:MAX_LINE_TOKENS] + newline for ids in batch]

    def window(self, video_title: str, lines: Sequence[list[int]], first: int) -> WindowPrompt:
        """The prompt for one window, whose lines come from `lines`; `first` is the number of its first segment."""
        title = self._ids(video_title)[:MAX_VIDEO_TITLE_TOKENS]
        wanted = (
            "Split the transcript into chapters. Answer with one line for each chapter: its start time and its title.\n"
            if self.timed
            else ""
        )
        opening = "Transcript:\n" if first == 0 else "Transcript, continued:\n"
        ids = [*self._before, *self._ids(f"{wanted}Video: "), *title, *self._ids(f"\n{opening}")]
        ends = []
        for line in lines:
            ids.extend(line)
            ends.append(len(ids) - 1)
        if self.timed:
            ids.extend(self._after)
        return WindowPrompt(ids, ends)

    def window_answer(self, chapters: Sequence[Chapter]) -> list[int]:
        """What a model that writes time stamps should answer, with the end-of-turn token."""
        text = "\n".join(f"{format_time(c.start)} {c.title}" for c in chapters) or NO_CHAPTER
        return [*self._ids(text), self.tokenizer.eos_token_id]

    def title_request(self, video_title: str, lines: Sequence[list[int]], earlier: Sequence[str]) -> list[int]:
        """The prompt that asks for the title of one chapter, from its own lines and the titles before it."""
        ids = [*self._before, *self._ids("Video: "), *self._ids(video_title)[:MAX_VIDEO_TITLE_TOKENS]]
        for title in earlier[-EARLIER_TITLES:]:
            ids.extend(self._ids("\nChapter: "))
            ids.extend(self._ids(title)[:MAX_VIDEO_TITLE_TOKENS])
        ids.extend(self._ids("\n\n"))
        room = MAX_CHAPTER_TEXT_TOKENS
        for line in lines:
            ids.extend(line[:room])
            room -= len(line)
            if room <= 0:
                break
        return [*ids, *self._ids(f"\n{TITLE_REQUEST}"), *self._after]

    def title_answer(self, title: str) -> list[int]:
        """What the model should answer to `title_request`, with the end-of-turn token."""
        return [*self._ids(title), self.tokenizer.eos_token_id]


def parse_timed_lines(text: str) -> tuple[list[tuple[str, str]], list[str]]:
    """(time code, title) of each line that has both, and the lines that do not."""
    found, other = [], []
    for line in filter(None, map(str.strip, text.splitlines())):
        match = _TIMED_LINE.fullmatch(line)
        if match and match[2].strip():
            found.append((match[1], match[2].strip()))
        else:
            other.append(line)
    return found, other
