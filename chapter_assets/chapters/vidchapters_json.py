"""Reading and writing chapter lists as the VidChapters chapters JSON.

Its shape: `{id: {"duration": s, "chapters": {start: title}}}`, a start being a string: seconds or a time code.
Other keys of a video (title, description, …) are not read.
"""

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chapter_assets.chapters.chapterlist import Chapter
from chapter_assets.chapters.timecodes import parse_time
from chapter_assets.errors import InputError


def read_videos(path: Path, refused: list[str] | None = None) -> dict[str, tuple[float, list[Chapter]]]:
    """(duration in s, chapters in time order) by video.

    Raises InputError for anything else than the shape above; a video that has not got it is left out instead, and what
    is wrong with it added to `refused`, where that is given.
    """
    videos = {}
    for video, fields in _load(path):
        try:
            videos[video] = _duration(path, video, fields), _chapters(path, video, fields)
        except InputError as error:
            if refused is None:
                raise
            refused.append(error.problem)
    return videos


def read_predictions(path: Path) -> dict[str, list[Chapter]]:
    """Chapters in time order by video; a duration is neither needed nor read. Raises InputError as `read_videos`."""
    return {video: _chapters(path, video, fields) for video, fields in _load(path)}


def write_videos(path: Path, videos: Mapping[str, tuple[float | None, Sequence[Chapter]]]) -> None:
    """Write (duration in s or None, chapters) by video, starts floored to whole seconds, replacing `path` at once.

    Of chapters in one second the first stays, as in `chapterlist.tidy`. Text is escaped to ASCII: any title can be
    written, half an emoji too.
    """
    content = {}
    for video, (duration, chapters) in videos.items():
        titles: dict[str, str] = {}
        for chapter in sorted(chapters, key=lambda c: c.start):
            titles.setdefault(str(int(chapter.start)), chapter.title)
        content[video] = ({} if duration is None else {"duration": duration}) | {"chapters": titles}
    beside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    beside.write_text(json.dumps(content, indent=1) + "\n", encoding="ascii")
    beside.replace(path)


def _load(path: Path) -> list[tuple[str, dict[str, Any]]]:
    try:
        content = json.loads(path.read_bytes(), object_pairs_hook=_unrepeated)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})", "Give the path of a chapters JSON file") from None
    except (ValueError, RecursionError) as error:
        remedy = "Mend it there, or export or copy it again if it was cut short"
        raise InputError(f"{path} is not whole, valid JSON ({error})", remedy) from None
    if not isinstance(content, dict):
        raise InputError(f"{path} holds {_kind(content)}, not an object of videos by id", _SHAPE)
    for video, fields in content.items():
        if not isinstance(fields, dict):
            raise InputError(f"{path}, video {video!r}: {_kind(fields)} instead of an object", _SHAPE)
    return list(content.items())


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; a key that comes twice is refused: json would keep the last one in silence."""
    content = dict(pairs)
    if len(content) < len(pairs):
        (key, _), *_ = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"the key {key!r} comes twice in one object")
    return content


def _duration(path: Path, video: str, fields: dict[str, Any]) -> float:
    where = f"{path}, video {video!r}"
    remedy = 'Give the video\'s length in seconds as "duration"'
    if "duration" not in fields:
        raise InputError(f"{where}: the field duration is missing", remedy)
    try:
        duration = parse_time(fields["duration"])
    except ValueError as error:
        raise InputError(f"{where}, field duration: {error}", remedy) from None
    if duration == 0:
        raise InputError(f"{where}, field duration: it is 0", remedy)
    return duration


def _chapters(path: Path, video: str, fields: dict[str, Any]) -> list[Chapter]:
    where = f"{path}, video {video!r}"
    if "chapters" not in fields:
        raise InputError(f"{where}: the field chapters is missing", _SHAPE)
    if not isinstance(fields["chapters"], dict):
        raise InputError(f"{where}, field chapters: {_kind(fields['chapters'])} instead of titles by start", _SHAPE)
    chapters = []
    for start, title in fields["chapters"].items():
        if not isinstance(title, str):
            raise InputError(f"{where}, field chapters, start {start!r}: the title is {_kind(title)}", _SHAPE)
        try:
            chapters.append(Chapter(parse_time(start), title))
        except ValueError as error:
            remedy = 'Write starts as seconds ("75") or as time codes ("00:01:15")'
            raise InputError(f"{where}, field chapters: the start {error}", remedy) from None
    return sorted(chapters, key=lambda c: c.start)


def _kind(value: object) -> str:
    names = {list: "a list", dict: "an object", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


_SHAPE = 'The shape is {"<video id>": {"duration": <seconds>, "chapters": {"<start in seconds>": "<title>"}}}'
