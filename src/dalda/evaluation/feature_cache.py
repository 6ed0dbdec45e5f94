"""Rows of numbers by content hash: in memory, or memory-mapped in a folder, where they outlive the run."""

import mmap
import os
import re
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from dalda.errors import UserError

Matrix = NDArray[np.float32]
Rows = NDArray[np.int64]

LINE = re.compile(rb"([0-9a-f]{64}) ([0-9a-f]{8})\n")
LINE_BYTES = 74


class MemoryTable:
    """Float32 rows of one width by key (64 hex digits), appended to and never changed."""

    def __init__(self, width: int) -> None:
        self.width = width
        self._place: dict[str, int] = {}
        self._blocks: list[Matrix] = []

    def __len__(self) -> int:
        return len(self._place)

    def missing(self, keys: Iterable[str]) -> list[str]:
        """The keys that have no row yet, each once, in order."""
        return [key for key in dict.fromkeys(keys) if key not in self._place]

    def add(self, keys: Sequence[str], rows: Matrix) -> None:
        """Appends one row per key, [n, width]; a key that is there keeps its row."""
        fresh = self._fresh(keys)
        for number in fresh:
            self._place[keys[number]] = len(self._place)
        self._blocks.append(np.ascontiguousarray(rows[fresh], np.float32))

    def at(self, keys: Sequence[str]) -> Rows:
        """The row numbers of keys that are there, [n]."""
        return np.array([self._place[key] for key in keys], dtype=np.int64)

    @property
    def matrix(self) -> Matrix:
        """All rows, [rows, width]."""
        if len(self._blocks) != 1:
            self._blocks = [np.concatenate([np.empty((0, self.width), np.float32), *self._blocks])]
        return self._blocks[0]

    def release(self) -> None:
        """Lets go of memory that can be read again."""

    def _fresh(self, keys: Sequence[str]) -> list[int]:
        first = {key: number for number, key in reversed(list(enumerate(keys)))}
        return [
            number
            for key, number in sorted(first.items(), key=lambda item: item[1])
            if key not in self._place
        ]


class FolderTable(MemoryTable):
    """The same in a folder: numbers in `rows.f32`, and in line n of `keys.txt` the key and CRC-32 of row n.

    Rows are written before their keys and under a lock: a process that dies leaves no key without its
    row, and two processes may share the folder. Raises `UserError` where the files are not these.
    """

    def __init__(self, width: int, folder: Path) -> None:
        super().__init__(width)
        self.folder = folder
        self._checks: list[int] = []
        self._checked: set[int] = set()
        self._mapped: np.memmap[tuple[int, ...], np.dtype[np.float32]] | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with self._lock():
                self._load()
        except OSError as error:
            raise UserError(
                f"The feature cache {folder} cannot be used ({error.strerror or error}): "
                "set DALDA_CACHE to a folder that can be written."
            ) from error

    def add(self, keys: Sequence[str], rows: Matrix) -> None:
        with self._lock():
            self._load()
            fresh = self._fresh(keys)
            values = np.ascontiguousarray(rows[fresh], "<f4")
            checks = [zlib.crc32(row.tobytes()) for row in values]
            lines = "".join(
                f"{keys[number]} {check:08x}\n" for number, check in zip(fresh, checks, strict=True)
            )
            # What lies behind the last whole entry was torn by a process that died.
            _append(self.folder / "rows.f32", len(self) * self.width * 4, values.tobytes())
            _append(self.folder / "keys.txt", len(self) * LINE_BYTES, lines.encode())
            self._checked.update(range(len(self), len(self) + len(fresh)))
            self._load()

    def at(self, keys: Sequence[str]) -> Rows:
        """The row numbers of keys that are there, [n]; each row is checked once against its CRC-32."""
        found = super().at(keys)
        unseen = sorted(set(found.tolist()) - self._checked)
        if unseen:
            # Read, not mapped: what is only checked shall not stay resident.
            with (self.folder / "rows.f32").open("rb") as file:
                for row in unseen:
                    file.seek(row * self.width * 4)
                    if zlib.crc32(file.read(self.width * 4)) != self._checks[row]:
                        raise self._corrupt(f"row {row} is not what was written")
            self._checked.update(unseen)
        return found

    @property
    def matrix(self) -> Matrix:
        """All rows, [rows, width], memory-mapped: only what is touched is read."""
        if not len(self):
            return np.empty((0, self.width), np.float32)
        if self._mapped is None or len(self._mapped) != len(self):
            shape = (len(self), self.width)
            self._mapped = np.memmap(self.folder / "rows.f32", "<f4", "r", shape=shape)
        return self._mapped

    def release(self) -> None:
        mapped: mmap.mmap | None = getattr(self._mapped, "_mmap", None)
        if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)

    def _load(self) -> None:
        """Takes in the entries that were added since the last look, by this process or by another."""
        keys, rows = self.folder / "keys.txt", self.folder / "rows.f32"
        if not keys.exists():
            return
        with keys.open("rb") as file:
            file.seek(len(self) * LINE_BYTES)
            written = file.read()
        whole = len(written) // LINE_BYTES
        for number in range(whole):
            match = LINE.fullmatch(written[number * LINE_BYTES : (number + 1) * LINE_BYTES])
            if match is None:
                raise self._corrupt(f"line {len(self) + 1} of keys.txt is no entry")
            self._place[match[1].decode()] = len(self._place)
            self._checks.append(int(match[2], 16))
        if len(self._checks) != len(self._place) or rows.stat().st_size < len(self) * self.width * 4:
            raise self._corrupt("it has fewer rows than keys")

    def _lock(self) -> FileLock:
        return FileLock(self.folder / "lock")

    def _corrupt(self, what: str) -> UserError:
        return UserError(f"The feature cache {self.folder} is damaged ({what}): delete that folder.")


def _append(path: Path, length: int, data: bytes) -> None:
    """Cuts a file to `length` bytes and writes behind them, down to the disk."""
    with path.open("r+b" if path.exists() else "x+b") as file:
        file.truncate(length)
        file.seek(length)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
