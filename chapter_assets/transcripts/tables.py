"""Reading transcripts and chapter lists back from their Parquet tables."""

from collections import defaultdict
from collections.abc import Iterator

import pyarrow as pa

from chapter_assets.chapters.chapterlist import Chapter
from chapter_assets.transcripts.segments import Segment, Transcript


def read_transcripts(videos: pa.Table, transcripts: pa.Table) -> Iterator[Transcript]:
    """The transcripts of the kept videos, in the order of `videos`."""
    segments: dict[str, list[Segment]] = defaultdict(list)
    columns = (transcripts[name].to_pylist() for name in ("video_id", "start", "end", "text"))
    for video_id, start, end, text in zip(*columns, strict=True):
        segments[video_id].append(Segment(start, end, text))
    columns = (videos[name].to_pylist() for name in ("video_id", "title", "duration", "status"))
    for video_id, title, duration, status in zip(*columns, strict=True):
        if status == "kept":
            yield Transcript(video_id, title, duration, tuple(segments[video_id]))


def read_chapters(chapters: pa.Table) -> dict[str, list[Chapter]]:
    """Each video's chapter list."""
    lists: dict[str, list[Chapter]] = defaultdict(list)
    columns = (chapters[name].to_pylist() for name in ("video_id", "start", "title"))
    for video_id, start, title in zip(*columns, strict=True):
        lists[video_id].append(Chapter(start, title))
    return lists
