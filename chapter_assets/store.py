"""Where an artifact lies, atomic writes, journals, and the hashes that name what was written.

An artifact is a folder `<store>/<asset>/<partition>/<version>-<random>/`; `current.json` beside it names the
version that counts, its files with their sizes and hashes, and the details its maker recorded. A new version is
written to a temporary sibling and renamed, then `current.json` is replaced in one step: a reader sees the old
artifact or the new one, never a part.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Self

import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from chapter_assets.errors import InputError, StoreError

log = logging.getLogger(__name__)

SCHEMA_VERSION = 1
_UNPARTITIONED = "all"
_PARTITION_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_ROWS_PER_GROUP = 4096
_POINTER = {"version", "inputs", "folder", "files", "details"}


def check_partition_key(key: str) -> str:
    """`key` itself, when it can be a folder name on any system; else InputError."""
    if not _PARTITION_KEY.fullmatch(key):
        raise InputError(
            f"{key!r} cannot be a partition key",
            "Use 1 to 100 letters, digits, dots, dashes or underscores, beginning with a letter or digit",
        )
    return key


def canonical_json(value: Any) -> bytes:
    """`value` as JSON bytes that depend on its content alone."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def content_hash(value: Any) -> str:
    """sha256 of the canonical JSON, as hex."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def file_hash(path: Path) -> str:
    """sha256 of a file's bytes, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Replace `path` with `value` as JSON, in one step that survives a crash."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            os.chmod(file.name, 0o644)
            json.dump(value, file, indent=1, sort_keys=True, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())
            os.replace(file.name, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(file.name)
            raise


class Journal:
    """A file of JSON objects, one a line, that is only ever appended to.

    A last line that a crash cut is not read, and the next append drops it with a warning.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Nobody else reads and appends meanwhile; not to be entered twice."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with (self.path.parent / f".{self.path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def read(self) -> list[dict[str, Any]]:
        """What was written, oldest first; StoreError when a line before the last is no JSON object."""
        return self._read()[0]

    def _read(self) -> tuple[list[dict[str, Any]], int]:
        """The values, and how many bytes of the file they take."""
        try:
            lines = self.path.read_bytes().splitlines(keepends=True)
        except FileNotFoundError:
            return [], 0
        values, good = [], 0
        for number, line in enumerate(lines, start=1):
            try:
                value = json.loads(line)
                if not isinstance(value, dict):
                    raise ValueError("it is no JSON object")
            except ValueError as error:
                if number == len(lines) and not line.endswith(b"\n"):
                    break
                raise StoreError(
                    f"Line {number} of {self.path} is damaged: {error}", "Mend or delete that line"
                ) from error
            values.append(value)
            good += len(line)
        return values, good

    def append(self, value: Mapping[str, Any]) -> None:
        """Write `value` as the last line, on the disk when this returns, else not at all; call it under the lock."""
        good = self._read()[1]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab+") as file:
            if file.tell() > good:
                log.warning("%s: the last line was cut by a crash and is dropped", self.path)
                file.truncate(good)
            file.seek(max(good - 1, 0))
            begin = b"" if file.read(1) in (b"\n", b"") else b"\n"  # an editor may have left out the last one
            try:
                file.write(begin + canonical_json({"schema_version": SCHEMA_VERSION, **value}) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            except BaseException:
                os.truncate(self.path, good)
                raise


class TableWriter:
    """Writes rows to one Parquet file in groups of bounded size, and hashes their content as it goes."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._rows: list[Mapping[str, Any]] = []
        self._hash = hashlib.sha256(str(schema).encode())
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")
        self.count = 0

    def append(self, row: Mapping[str, Any]) -> None:
        self._rows.append(row)
        self.count += 1
        if len(self._rows) >= _ROWS_PER_GROUP:
            self._flush()

    def extend(self, rows: Iterable[Mapping[str, Any]]) -> None:
        for row in rows:
            self.append(row)

    def _flush(self) -> None:
        if self._rows:
            batch = pa.RecordBatch.from_pylist(self._rows, schema=self._schema)
            self._hash.update(batch.serialize())
            self._writer.write_batch(batch)
            self._rows = []

    def version(self) -> str:
        """sha256 of the rows in order, as hex; call after the `with` block."""
        return self._hash.hexdigest()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exc_type: object, *rest: object) -> None:
        try:
            if exc_type is None:
                self._flush()
        finally:
            self._writer.close()


@dataclass
class Draft:
    """An artifact while it is made: put files into `folder`, and set `version` to the hash of what they mean.

    `inputs` is the hash of all that it was made from: made from the same again, it need not be made again.
    """

    folder: Path
    inputs: str
    version: str = ""
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Artifact:
    """A finished artifact: `folder` with its files, the `version` of its content, what its maker recorded."""

    asset: str
    partition: str | None
    folder: Path
    version: str
    inputs: str
    details: dict[str, Any]

    def table(self, name: str) -> pa.Table:
        """The Parquet file `<name>.parquet` of this artifact."""
        return pq.read_table(self.folder / f"{name}.parquet")

    def head(self, name: str, rows: int = 5) -> pa.Table:
        """The first rows of that file, without reading the rest."""
        file = pq.ParquetFile(self.folder / f"{name}.parquet")
        return pa.Table.from_batches(islice(file.iter_batches(batch_size=rows), 1), file.schema_arrow)


class Store:
    """The artifacts under one root folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def place(self, asset: str, partition: str | None) -> Path:
        """The folder that belongs to one asset's partition, whether anything is there or not."""
        return self.root / asset / (_UNPARTITIONED if partition is None else check_partition_key(partition))

    def work_folder(self, asset: str, partition: str, fingerprint: str) -> Path:
        """A folder for unfinished work that a killed run leaves and the next one takes up.

        `fingerprint` is the hash of everything the work depends on; work of another fingerprint is thrown away.
        """
        work = self.place(asset, partition) / f"work-{fingerprint[:16]}"
        for other in self.place(asset, partition).glob("work-*"):
            if other != work:
                shutil.rmtree(other)
        work.mkdir(parents=True, exist_ok=True)
        return work

    def drop_work(self, asset: str, partition: str) -> None:
        """Throw unfinished work away: what it was for is published."""
        for work in self.place(asset, partition).glob("work-*"):
            shutil.rmtree(work, ignore_errors=True)

    @contextlib.contextmanager
    def publish(self, asset: str, partition: str | None, inputs: str = "") -> Iterator[Draft]:
        """A draft that becomes the current artifact when the block ends well, and vanishes when it does not.

        Raises StoreError when the disk is full; the artifact that was there before stays.
        """
        place = self.place(asset, partition)
        try:
            place.mkdir(parents=True, exist_ok=True)
            for left in place.glob(".draft-*"):
                if not psutil.pid_exists(int(left.name.split("-")[1])):  # its maker was killed
                    shutil.rmtree(left, ignore_errors=True)
            draft = Draft(Path(tempfile.mkdtemp(prefix=f".draft-{os.getpid()}-", dir=place)), inputs)
            try:
                yield draft
                self._finish(place, draft)
            finally:
                shutil.rmtree(draft.folder, ignore_errors=True)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            free = shutil.disk_usage(self.root).free
            raise StoreError(
                f"No room to write {asset} {partition or ''} under {self.root} ({free / 2**20:.0f} MiB free)",
                "Nothing was changed; free some space, or set CHAPTER_ASSETS_STORE_DIR elsewhere, and run it again",
            ) from error

    def _finish(self, place: Path, draft: Draft) -> None:
        if not draft.version:
            raise ValueError("a draft needs its version before it can be published")
        files = {
            str(path.relative_to(draft.folder)): {"bytes": path.stat().st_size, "sha256": file_hash(path)}
            for path in sorted(draft.folder.rglob("*"))
            if path.is_file()
        }
        name = f"{draft.version[:16]}-{secrets.token_hex(3)}"
        draft.folder.chmod(0o755)
        pointer = {
            "schema_version": SCHEMA_VERSION,
            "version": draft.version,
            "inputs": draft.inputs,
            "folder": name,
            "files": files,
            "details": draft.details,
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        with (place / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # until it is closed: two runs may publish one partition
            try:
                before = (self._pointer(place) or {}).get("folder")
            except StoreError:
                before = None
            draft.folder.rename(place / name)
            write_json(place / "current.json", pointer)
            for old in place.iterdir():  # a reader may still be inside the one before
                if re.fullmatch(r"[0-9a-f]{16}-[0-9a-f]{6}", old.name) and old.name not in (name, before):
                    shutil.rmtree(old, ignore_errors=True)

    def _pointer(self, place: Path) -> dict[str, Any] | None:
        try:
            pointer: dict[str, Any] = json.loads((place / "current.json").read_text())
            if not (isinstance(pointer, dict) and pointer.keys() >= _POINTER):
                raise ValueError("it is not what a publication writes")
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise StoreError(
                f"{place / 'current.json'} is damaged: {error}", "Delete it, and materialize that partition again"
            ) from error
        return pointer

    def exists(self, asset: str, partition: str | None) -> bool:
        """Whether a finished artifact is there."""
        return (self.place(asset, partition) / "current.json").exists()

    def details(self, asset: str, partition: str | None) -> dict[str, Any]:
        """What the maker of the current artifact recorded, even if its files are no longer whole."""
        pointer = self._pointer(self.place(asset, partition))
        return {} if pointer is None else pointer["details"]

    def partitions(self, asset: str) -> list[str]:
        """The partitions with a finished artifact, sorted."""
        return sorted(path.parent.name for path in (self.root / asset).glob("*/current.json"))

    def newest(self, asset: str) -> str | None:
        """The partition whose artifact was made last."""
        pointers = {key: self._pointer(self.place(asset, key)) or {} for key in self.partitions(asset)}
        return max(pointers, key=lambda key: (pointers[key].get("created_at", ""), key), default=None)

    def read(self, asset: str, partition: str | None) -> Artifact:
        """The current artifact; StoreError when it was never made or is not whole."""
        place = self.place(asset, partition)
        what = f"{asset} {partition}" if partition else asset
        remedy = f"Materialize {what} (again)"
        pointer = self._pointer(place)
        if pointer is None:
            raise StoreError(f"{what} was never made: there is no {place / 'current.json'}", remedy)
        folder = place / pointer["folder"]
        for name, recorded in pointer["files"].items():
            path = folder / name
            size = path.stat().st_size if path.is_file() else None
            if size != recorded["bytes"]:
                found = "is missing" if size is None else f"has {size} bytes instead of {recorded['bytes']}"
                raise StoreError(f"{what} is not whole: {path} {found}", remedy)
        return Artifact(asset, partition, folder, pointer["version"], pointer["inputs"], pointer["details"])

    def made_from(self, asset: str, partition: str | None, inputs: str) -> Artifact | None:
        """The current artifact if it is whole and was made from `inputs`, else None."""
        try:
            artifact = self.read(asset, partition)
        except StoreError:
            return None
        return artifact if artifact.inputs == inputs else None
