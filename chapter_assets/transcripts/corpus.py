"""A corpus shard: finding or fetching its two VidChapters files, and one streaming pass from them to tables."""

import contextlib
import errno
import json
import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from chapter_assets.chapters.chapterlist import Chapter
from chapter_assets.errors import ChapterAssetsError, InputError
from chapter_assets.store import TableWriter, check_partition_key
from chapter_assets.transcripts.language import language_of
from chapter_assets.transcripts.vidchapters import (
    AsrRecord,
    JsonFile,
    Refusal,
    VideoRecord,
    parse_asr,
    parse_record,
    refused_video,
)

KEPT = "kept"
VIDEO_REFUSED = "video_refused"  # a sound segment or chapter whose video is refused: counted, not listed
_VIDEOS_BETWEEN_REPORTS = 1000
_SQLITE_NO_ROOM = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE}

VIDEOS = pa.schema(
    [
        ("video_id", pa.string()),
        ("title", pa.string()),
        ("channel_id", pa.string()),
        ("duration", pa.float64()),
        ("language", pa.string()),
        ("split", pa.string()),
        ("segments", pa.int32()),
        ("chapters", pa.int32()),
        ("status", pa.string()),
    ]
)
TRANSCRIPTS = pa.schema(
    [
        ("video_id", pa.string()),
        ("segment_index", pa.int32()),
        ("start", pa.float64()),
        ("end", pa.float64()),
        ("text", pa.string()),
    ]
)
CHAPTERS = pa.schema(
    [
        ("video_id", pa.string()),
        ("chapter_index", pa.int32()),
        ("start", pa.float64()),
        ("title", pa.string()),
    ]
)
REFUSED = pa.schema(
    [
        ("video_id", pa.string()),
        ("item", pa.string()),
        ("index", pa.int32()),
        ("field", pa.string()),
        ("value", pa.string()),
        ("reason", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class ShardFiles:
    """The two files of a corpus shard."""

    chapters: Path
    asrs: Path


@dataclass
class Tally:
    """How many things came in, were kept, and were refused for which reason."""

    found: int = 0
    kept: int = 0
    refused: Counter[str] = field(default_factory=Counter)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: `in`, `kept`, and `refused` by reason."""
        return {"in": self.found, "kept": self.kept, "refused": dict(sorted(self.refused.items()))}


@dataclass(frozen=True)
class IngestResult:
    """What an ingest did.

    `counts`: for `videos`, `segments` and `chapters` each {in, kept, refused: {reason: n}}, where in = kept + all
    refused; `segments` also has `clipped_to_end` (kept, with an earlier end). `versions`: table name to content hash.
    """

    counts: dict[str, dict[str, Any]]
    versions: dict[str, str]


def find_shard(corpus_dir: Path, shard: str) -> ShardFiles:
    """The files of a shard in `<corpus_dir>/<shard>/`, under their plain names or the hub's.

    Raises InputError when the folder or a file is missing, or `shard` cannot be a key.
    """
    folder = corpus_dir / check_partition_key(shard)
    remedy = (
        f"Put {folder / 'chapters.json'} and {folder / 'asrs.json'} there, or run `chapter-assets fetch {shard}` "
        "to take the shard from the hub"
    )
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder} for the corpus shard {shard}", remedy)
    found = {}
    for kind in ("chapters", "asrs"):
        names = [f"{kind}.json", f"{kind}_{shard}.json"]
        path = next((folder / name for name in names if (folder / name).is_file()), None)
        if path is None:
            raise InputError(f"The corpus shard {shard} has no {' or '.join(names)} in {folder}", remedy)
        found[kind] = path
    return ShardFiles(**found)


def fetch_shard(dataset: str, shard: str, corpus_dir: Path) -> ShardFiles:
    """Fetch a shard from the hub dataset (HF_ENDPOINT is honoured) into `corpus_dir`; a shard that is there stays.

    The shard's folder appears whole, in one step, or not at all. Raises InputError when the shard is not on the hub,
    the hub cannot be reached, the transfer is cut off, or an incomplete folder is in the way.
    """
    target = corpus_dir / check_partition_key(shard)
    if target.is_dir() and any(target.iterdir()):
        try:
            return find_shard(corpus_dir, shard)
        except InputError as error:
            raise InputError(error.problem, f"Move {target} away, or complete it by hand, and fetch again") from error

    import httpx
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError, RepositoryNotFoundError

    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or None
    hub = endpoint or "the hub"
    unfinished = corpus_dir / f".fetch-{shard}"  # one name, so that what a killed fetch leaves is taken up
    name = ""
    try:
        whole = unfinished / "whole"
        whole.mkdir(parents=True, exist_ok=True)
        for kind in ("chapters", "asrs"):
            name = f"docs/subset_data/{kind}/{kind}_{shard}.json"
            path = hf_hub_download(dataset, name, repo_type="dataset", local_dir=unfinished / "hub", endpoint=endpoint)
            os.replace(path, whole / f"{kind}.json")
        os.replace(whole, target)
    except LocalEntryNotFoundError as error:
        raise InputError(
            f"{hub} cannot be reached for {name} of {dataset}",
            f"Check the network and HF_ENDPOINT, or put the two files into {target} yourself",
        ) from error
    except (EntryNotFoundError, RepositoryNotFoundError) as error:
        raise InputError(
            f"{hub} has no {name} in the dataset {dataset}",
            "Check the shard's name, and that the dataset in CHAPTER_ASSETS_HUB_DATASET exists and is open to you",
        ) from error
    except (OSError, ValueError, httpx.HTTPError) as error:
        raise InputError(
            f"{name} of {dataset} could not be fetched whole from {hub}: {error}",
            "Nothing was kept; check the network and the free space, and fetch it again",
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return find_shard(corpus_dir, shard)


def find_or_fetch_shard(dataset: str, shard: str, corpus_dir: Path) -> ShardFiles:
    """The files of a shard: on disk, or else from the hub; the error names both ways when neither works."""
    if (corpus_dir / shard).exists():
        return find_shard(corpus_dir, shard)
    try:
        return fetch_shard(dataset, shard, corpus_dir)
    except InputError as error:
        problem = f"The corpus shard {shard} is not in {corpus_dir / shard}, and fetching it failed: {error.problem}"
        raise InputError(problem, f"Put its chapters.json and asrs.json there, or: {error.remedy}") from error


def shard_manifest(files: ShardFiles) -> dict[str, dict[str, Any]]:
    """For `chapters` and `asrs`: path, bytes, sha256, and `videos`, the number of records in the file.

    Reads both files once, record by record; raises InputError as JsonFile does.
    """
    manifest = {}
    for kind in ("chapters", "asrs"):
        file = JsonFile(getattr(files, kind))
        for _ in file:
            pass
        manifest[kind] = {
            "path": str(file.path),
            "bytes": file.bytes,
            "sha256": file.sha256(),
            "videos": file.records,
        }
    return manifest


def ingest(
    files: ShardFiles,
    manifest: Mapping[str, Mapping[str, Any]],
    folder: Path,
    shard: str,
    split_of: Callable[[str], str],
    on_progress: Callable[[int], None],
) -> IngestResult:
    """Write `videos`, `transcripts`, `chapters` and `refused` as Parquet into `folder`, in one pass over the files.

    `videos` has a row for each id in either file, and one more for each duplicate; `transcripts` and `chapters` hold
    kept videos only. A video's language is what its kept text tells, or else the one that its ASR record names.
    `split_of` gets a channel id (the shard's name where the channel is unknown); `on_progress`
    gets the number of videos finished. Memory does not grow with the files: what the chapters file says waits in a
    temporary SQLite file in `folder`. Raises InputError for unreadable files and when their bytes are not those of
    `manifest`, OSError (ENOSPC) when the disk is full.
    """
    recorded = JsonFile(files.chapters, keep_repeated_keys=True)
    spoken = JsonFile(files.asrs)
    with _scratch(folder) as waiting, _Tables(folder, shard, split_of, on_progress) as tables:
        for video_id, raw in recorded:
            video, refusals = parse_record(video_id, raw)
            if not waiting.put(video, refusals):
                tables.add(video, AsrRecord(), [refused_video(video_id, "duplicate_id"), *refusals])
        for video_id, raw in spoken:
            video, refusals = waiting.take(video_id)
            asr, more = parse_asr(video_id, raw, video.duration)
            tables.add(video, asr, refusals + more)
        for video, refusals in waiting.rest():
            tables.add(video, AsrRecord(), [*refusals, refused_video(video.video_id, "no_asr")])
        for kind, file in (("chapters", recorded), ("asrs", spoken)):
            if file.sha256() != manifest[kind]["sha256"]:
                raise InputError(
                    f"{file.path} changed while it was read, or since raw_vidchapters {shard} was materialized",
                    f"Materialize raw_vidchapters {shard} again, then this",
                )
    tables.check(recorded.records + spoken.records - waiting.matched)
    on_progress(tables.videos.found)
    return tables.result()


class _Tables:
    """The four tables while they are written, and the counts of what went into them."""

    def __init__(
        self, folder: Path, shard: str, split_of: Callable[[str], str], on_progress: Callable[[int], None]
    ) -> None:
        self._shard, self._split_of, self._on_progress = shard, split_of, on_progress
        self._stack = ExitStack()
        schemas = {"videos": VIDEOS, "transcripts": TRANSCRIPTS, "chapters": CHAPTERS, "refused": REFUSED}
        self._writers = {
            name: self._stack.enter_context(TableWriter(folder / f"{name}.parquet", schema))
            for name, schema in schemas.items()
        }
        self.videos, self.segments, self.chapters = Tally(), Tally(), Tally()
        self.clipped = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def add(self, video: VideoRecord, asr: AsrRecord, refusals: Sequence[Refusal]) -> None:
        """One row of `videos` and all that belongs to it; the first refusal of the video is its status."""
        reason = next((r for r in refusals if r.item == "video"), None)
        listed = [r for r in refusals if r.item != "video" or r is reason]
        keep = reason is None
        segments, chapters = (asr.segments, video.chapters) if keep else ((), ())
        channel = video.channel_id or self._shard
        self._writers["videos"].append(
            {
                "video_id": video.video_id,
                "title": video.title,
                "channel_id": channel,
                "duration": video.duration,
                "language": language_of(segments) or asr.language,  # in real records the named one was wrong
                "split": self._split_of(channel),
                "segments": len(segments),
                "chapters": len(chapters),
                "status": KEPT if reason is None else reason.reason,
            }
        )
        self._writers["transcripts"].extend(
            {"video_id": video.video_id, "segment_index": i, "start": s.start, "end": s.end, "text": s.text}
            for i, s in enumerate(segments)
        )
        self._writers["chapters"].extend(
            {"video_id": video.video_id, "chapter_index": i, "start": c.start, "title": c.title}
            for i, c in enumerate(chapters)
        )
        self._writers["refused"].extend(map(asdict, listed))

        for tally, found, sound, kept in (
            (self.videos, 1, 0, int(keep)),
            (self.segments, asr.found, len(asr.segments), len(segments)),
            (self.chapters, video.found, len(video.chapters), len(chapters)),
        ):
            tally.found += found
            tally.kept += kept
            if not keep and sound:
                tally.refused[VIDEO_REFUSED] += sound
        tallies = {"video": self.videos, "segment": self.segments, "chapter": self.chapters}
        for refusal in listed:
            tallies[refusal.item].refused[refusal.reason] += 1
        self.clipped += asr.clipped if keep else 0
        if self.videos.found % _VIDEOS_BETWEEN_REPORTS == 0:
            self._on_progress(self.videos.found)

    def check(self, videos_expected: int) -> None:
        """Raises ChapterAssetsError unless in = kept + refused everywhere and the tables have as many rows."""
        rows = {name: writer.count for name, writer in self._writers.items()}
        listed = 0
        wrong = []
        for name, tally in (("videos", self.videos), ("segments", self.segments), ("chapters", self.chapters)):
            refused = tally.refused.total()
            listed += refused - tally.refused[VIDEO_REFUSED]
            if tally.found != tally.kept + refused:
                wrong.append(f"{name} in {tally.found}, kept {tally.kept}, refused {refused}")
        for name, expected in (
            ("videos", videos_expected),
            ("transcripts", self.segments.kept),
            ("chapters", self.chapters.kept),
            ("refused", listed),
        ):
            if rows[name] != expected:
                wrong.append(f"{name} has {rows[name]} rows instead of {expected}")
        if wrong:
            raise ChapterAssetsError(
                f"The counts of the corpus shard {self._shard} do not add up: {'; '.join(wrong)}",
                "This is a fault of the ingest, not of the data: report it with the shard's manifest",
            )

    def result(self) -> IngestResult:
        counts = {name: getattr(self, name).as_dict() for name in ("videos", "segments", "chapters")}
        counts["segments"]["clipped_to_end"] = self.clipped
        return IngestResult(counts, {name: writer.version() for name, writer in self._writers.items()})


class _Waiting:
    """What the chapters file says of each video, on disk, until the ASR file names the video.

    `matched` counts the videos that both files name.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self.matched = 0
        # Nothing is ever committed or read again after a crash, so neither a journal nor syncing is of use.
        database.execute("PRAGMA journal_mode = OFF")
        database.execute("PRAGMA synchronous = OFF")
        database.execute("CREATE TABLE videos (place INTEGER PRIMARY KEY, id TEXT UNIQUE, said TEXT)")

    def put(self, video: VideoRecord, refusals: Sequence[Refusal]) -> bool:
        """Keep a record; False when there is one of this id."""
        said = json.dumps([*astuple(video), [astuple(r) for r in refusals]])
        insert = "INSERT OR IGNORE INTO videos (id, said) VALUES (?, ?)"
        return self._database.execute(insert, (video.video_id, said)).rowcount == 1

    def take(self, video_id: str) -> tuple[VideoRecord, list[Refusal]]:
        """The record of a video, once; an empty one with the reason when there is none, or it was taken before."""
        row = self._database.execute("SELECT said FROM videos WHERE id = ?", (video_id,)).fetchone()
        if row is None:
            self._database.execute("INSERT INTO videos (id) VALUES (?)", (video_id,))
            return VideoRecord(video_id), [refused_video(video_id, "asr_without_chapters_record")]
        if row[0] is None:
            return VideoRecord(video_id), [refused_video(video_id, "duplicate_id")]
        self._database.execute("UPDATE videos SET said = NULL WHERE id = ?", (video_id,))
        self.matched += 1
        return self._understood(row[0])

    def rest(self) -> Iterator[tuple[VideoRecord, list[Refusal]]]:
        """The records never taken, in the order of the chapters file."""
        for row in self._database.execute("SELECT said FROM videos WHERE said IS NOT NULL ORDER BY place"):
            yield self._understood(row[0])

    @staticmethod
    def _understood(said: str) -> tuple[VideoRecord, list[Refusal]]:
        video_id, title, channel_id, duration, chapters, found, refusals = json.loads(said)
        listed = tuple(Chapter(*chapter) for chapter in chapters)
        return VideoRecord(video_id, title, channel_id, duration, listed, found), [Refusal(*r) for r in refusals]


@contextlib.contextmanager
def _scratch(folder: Path) -> Iterator[_Waiting]:
    path = folder / "waiting.sqlite"
    path.unlink(missing_ok=True)  # of a run that was killed
    try:
        with contextlib.closing(sqlite3.connect(path)) as database:
            yield _Waiting(database)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode in _SQLITE_NO_ROOM:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise
    finally:
        path.unlink(missing_ok=True)
