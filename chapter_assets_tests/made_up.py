"""Made-up transcripts for the tests of what reads them."""

import random
from collections.abc import Sequence

from chapter_assets.chapters.chapterlist import Chapter
from chapter_assets.transcripts.segments import Segment, Transcript

_TALK = """
so now we take the engine out and look at every bolt because last week nobody knew why it would not start and then my
grandmother said that bread needs time water salt and flour but never sugar
"""


def chatter(rng: random.Random, words: int) -> str:
    return " ".join(rng.choices(_TALK.split(), k=words))


def transcript(
    starts: Sequence[float],
    texts: Sequence[str] | None = None,
    duration: float | None = None,
    video_id: str = "v",
    title: str = "A video",
) -> Transcript:
    """Segments that last until the next one starts; by default ten seconds for the last, and made-up sentences."""
    duration = starts[-1] + 10 if duration is None else duration
    texts = texts or [f"{i}: {chatter(random.Random(i), 7)}." for i in range(len(starts))]
    ends = [*starts[1:], duration]
    segments = tuple(Segment(float(a), float(b), text) for a, b, text in zip(starts, ends, texts, strict=True))
    return Transcript(video_id, title, float(duration), segments)


def long_transcript(segments: int, seed: int = 0, **more: str) -> Transcript:
    """Sentences of 1 to 20 words, five seconds or so each."""
    rng = random.Random(seed)
    starts = [5.0 * i + rng.random() for i in range(segments)]
    return transcript(starts, [chatter(rng, rng.randint(1, 20)) for _ in starts], **more)


def chapters_at(*starts: float) -> list[Chapter]:
    return [Chapter(float(start), f"About {chr(97 + i % 26)}{i}") for i, start in enumerate(starts)]
