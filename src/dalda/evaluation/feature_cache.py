"""Feature cache: rows of numbers by content hash, in a SQLite file that outlives the run, or in memory."""

import mmap
import sqlite3
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dalda.errors import UserError
from dalda.storage import make_folder

Matrix = NDArray[np.float32]

CHUNK = 500
"""Keys of one query."""
SMALL = 256_000_000
"""Bytes of a matrix that may stay in memory; a larger one is mapped from a temporary file."""
BUSY_SECONDS = 60.0


class FeatureTable:
    """Float32 rows of one width by key; a row that is there is never changed.

    Several processes may share the file. Raises UserError for a file that cannot be used or is damaged:
    each row is checked by its CRC-32 when it is read.
    """

    def __init__(self, width: int, path: Path | None = None) -> None:
        self.width = width
        self.path = path
        with self._faults():
            if path is not None:
                make_folder(path.parent)
            self._database = sqlite3.connect(
                path or ":memory:", timeout=BUSY_SECONDS, check_same_thread=False
            )
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS features "
                "(key TEXT PRIMARY KEY, crc INTEGER NOT NULL, row BLOB NOT NULL)"
            )

    def missing(self, keys: Iterable[str]) -> list[str]:
        """The keys that have no row yet, each once, in order."""
        wanted = list(dict.fromkeys(keys))
        found = {key for (key,) in self._select("key", wanted)}
        return [key for key in wanted if key not in found]

    def add(self, keys: Sequence[str], rows: Matrix) -> None:
        """Writes one row per key, [n, width]; a key that is there keeps its row."""
        values = (row.tobytes() for row in np.ascontiguousarray(rows, "<f4"))
        entries = [(key, zlib.crc32(row), row) for key, row in zip(keys, values, strict=True)]
        with self._faults(), self._database:
            self._database.executemany("INSERT OR IGNORE INTO features VALUES (?, ?, ?)", entries)

    def rows(self, keys: Sequence[str]) -> Matrix:
        """The rows of distinct keys that are there, [n, width]; a large matrix is memory-mapped."""
        matrix = self._empty(len(keys))
        places = {key: place for place, key in enumerate(keys)}
        found = 0
        for found, (key, crc, row) in enumerate(self._select("key, crc, row", keys), 1):
            if len(row) != 4 * self.width or zlib.crc32(row) != crc:
                raise self._damaged(f"the row of {key} is not what was written")
            matrix[places[key]] = np.frombuffer(row, "<f4")
            if found % CHUNK == 0:
                release(matrix)
        if found < len(keys):
            raise self._damaged(f"{len(keys) - found} rows are gone")
        release(matrix)
        return matrix

    def _empty(self, rows: int) -> Matrix:
        shape = (rows, self.width)
        if self.path is None or 4 * rows * self.width <= SMALL:
            return np.empty(shape, np.float32)
        # Beside the cache: the system's folder for temporary files may itself be memory.
        return np.memmap(tempfile.TemporaryFile(dir=self.path.parent), np.float32, "w+", shape=shape)

    def _select(self, columns: str, keys: Sequence[str]) -> Iterator[Any]:
        for start in range(0, len(keys), CHUNK):
            part = keys[start : start + CHUNK]
            marks = ", ".join("?" * len(part))
            query = f"SELECT {columns} FROM features WHERE key IN ({marks})"
            with self._faults():
                found = self._database.execute(query, part).fetchall()
            yield from found

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """SQLite's and the disk's errors as one sentence."""
        try:
            yield
        except (OSError, sqlite3.OperationalError) as error:
            raise UserError(
                f"The feature cache '{self.path}' cannot be used ({error}): "
                "set DALDA_CACHE to a folder that can be written."
            ) from error
        except sqlite3.DatabaseError as error:
            raise self._damaged(str(error)) from error

    def _damaged(self, fault: str) -> UserError:
        return UserError(f"The feature cache '{self.path}' is damaged ({fault}): delete that file.")


def release(matrix: Matrix) -> None:
    """Frees the resident pages of a memory-mapped matrix: they are read again when they are needed."""
    base: Any = matrix
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    mapped: mmap.mmap | None = getattr(base, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)
