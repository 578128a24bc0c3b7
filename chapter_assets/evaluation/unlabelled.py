"""Videos of the corpus that have a transcript and no chapter list: what a person could label next."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from chapter_assets.store import Store
from chapter_assets.transcripts.segments import Transcript
from chapter_assets.transcripts.vidchapters import JsonFile, parse_asr

SPLIT = "unlabelled"
MOST = 20
"""Videos predicted to find the ones worth labelling: as many as the finetuned model does in a minute or two."""
_REFUSED_AS = ("no_chapters", "asr_without_chapters_record")


def unlabelled_videos(
    store: Store, shards: Sequence[str], note: Callable[[str], None]
) -> list[tuple[dict[str, Any], Transcript]]:
    """At most `MOST` videos of `shards`, each as its row of `videos` (with `shard`, `split`) and its transcript.

    The tables hold no transcript of a video that cannot be trained on, so it is read from the shard's ASR file; where
    that has moved or changed, the shard is left out and `note` told. Left out, too: channels that are held out, since
    their labels would not be trained on, transcripts of one segment, and videos that another shard has chapters of.
    """
    tables = {shard: store.read("videos", shard).table("videos").to_pylist() for shard in shards}
    labelled = {row["video_id"] for rows in tables.values() for row in rows if row["status"] == "kept"}
    found: dict[str, tuple[dict[str, Any], Transcript]] = {}
    for shard, rows in tables.items():
        wanted = {
            row["video_id"]: row | {"shard": shard, "split": SPLIT}
            for row in rows
            if row["status"] in _REFUSED_AS and row["video_id"] not in labelled | found.keys()
            # a video whose channel is unknown stands under the shard's name, and so in no part of its own
            if row["split"] == "train" or row["channel_id"] == shard
        }
        if not wanted:
            continue
        asrs = store.read("raw_vidchapters", shard).details["files"]["asrs"]
        path = Path(asrs["path"])
        if not path.is_file() or path.stat().st_size != asrs["bytes"]:
            note(f"{path} moved or changed: no unlabelled video of {shard} is looked at")
            continue
        for row, transcript in _transcripts(path, wanted):
            found[transcript.video_id] = row, transcript
            if len(found) == MOST:
                return list(found.values())
    return list(found.values())


def _transcripts(asrs: Path, wanted: dict[str, dict[str, Any]]) -> Iterator[tuple[dict[str, Any], Transcript]]:
    """The `wanted` videos (by id) in an ASR file; without a duration, a video ends with its last segment."""
    left = dict(wanted)
    for video_id, raw in JsonFile(asrs):
        row = left.pop(video_id, None)
        if row is not None:
            segments = parse_asr(video_id, raw, row["duration"])[0].segments
            duration = row["duration"] or max((s.end for s in segments), default=0.0)
            if len(segments) > 1 and segments[-1].start < duration:
                yield row | {"duration": duration}, Transcript(video_id, row["title"] or "", duration, segments)
        if not left:
            return
