"""Sealed feedback batches on disk: which are there, and their lines."""

from collections.abc import Iterator
from pathlib import Path

from chapter_assets.errors import InputError
from chapter_assets.feedback.records import LONGEST_LINE
from chapter_assets.store import check_partition_key

_SUFFIX = ".jsonl"


def list_batches(feedback_dir: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """The sealed batches `<batch>.jsonl` of a folder, unread, and which files cannot be one by their name, and why.

    None where there is no folder. Unsealed files (`.name`, `name.part`, `name.part.jsonl`) and other kinds of files are
    passed over. Raises InputError when the folder cannot be listed: that is not the same as an empty one.
    """
    try:
        files = sorted(feedback_dir.iterdir())
    except FileNotFoundError:
        files = []
    except OSError as error:
        raise InputError(
            f"The feedback folder {feedback_dir} cannot be listed: {error.strerror}",
            "Make it a folder that this user can read, or set CHAPTER_ASSETS_FEEDBACK_DIR",
        ) from error
    batches: dict[str, Path] = {}
    refused: dict[str, str] = {}
    for path in files:
        if path.suffix != _SUFFIX or path.name.startswith(".") or path.stem.endswith(".part") or not path.is_file():
            continue
        try:
            batches[check_partition_key(path.stem)] = path
        except InputError as error:
            refused[path.name] = error.problem
    return batches, refused


def find_batch(feedback_dir: Path, batch: str) -> Path:
    """The file of one batch; InputError when it is not there or cannot be read."""
    path = feedback_dir / f"{check_partition_key(batch)}{_SUFFIX}"
    try:
        path.open("rb").close()
    except OSError as error:
        raise InputError(
            f"The feedback batch {batch} cannot be read from {path}: {error.strerror}",
            "Put the sealed file there, readable, or set CHAPTER_ASSETS_FEEDBACK_DIR to the folder that holds it",
        ) from error
    return path


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """(number from 1, bytes) of each line that is not blank; of one over LONGEST_LINE bytes only its beginning."""
    with path.open("rb") as file:
        number = 0
        while line := file.readline(LONGEST_LINE):
            number += 1
            rest = line
            while len(rest) == LONGEST_LINE and not rest.endswith(b"\n"):
                rest = file.readline(LONGEST_LINE)
            if line.strip():
                yield number, line
