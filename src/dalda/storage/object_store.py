"""One object, or a folder of objects, of a store: s3, gs and az by obstore, hf by huggingface_hub."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

from dalda.errors import UserError, first_line

SCHEMES = ("s3", "gs", "az", "hf", "memory")
READ_ONLY = "hf"
"""Each write would be a commit there."""
RETRIES = {"max_retries": 8, "retry_timeout": timedelta(seconds=60)}
"""Of requests that a server refused as it was busy or broken, or that a lost connection cut off."""
CLIENT = {"connect_timeout": "5s", "timeout": "60s"}
ROOTS = ("s3", "gs", "az")
"""Stores of buckets, which are folders, whether anything lies in them or not."""
REASONS = (
    ("169.254.169.254", "no key is in the environment, and this machine has no role"),
    ("403 Forbidden", "the key is not valid, or has no right to do this (403 Forbidden)"),
    ("404 Not Found", "the store has no such bucket (404 Not Found)"),
)
"""What a client's report of a whole request means, by words in it."""
VERSIONS = ("e_tag", "blob_id", "oid", "created")
"""What a store says of an object's content, by the names that stores have for it."""


@dataclass(frozen=True)
class Entry:
    """What a store says of an object or of a folder."""

    name: str
    is_folder: bool
    size: int
    version: str | None
    """It changes with the content."""


@dataclass(frozen=True)
class StoredObject:
    """An object, or a folder of objects; `path` is BUCKET/NAME."""

    store: Any
    path: str
    scheme: str

    def read(self) -> bytes:
        with _as_os_error():
            return bytes(self.store.cat_file(self.path))

    def write(self, data: bytes) -> None:
        self.write_all({self.path: data})

    def write_all(self, objects: Mapping[str, bytes]) -> None:
        """Several at a time, each whole or not at all."""
        if self.scheme == READ_ONLY:
            raise OSError(0, "it is read-only here")
        with _as_os_error():
            self.store.pipe(dict(objects))

    def create(self, data: bytes) -> bool:
        """Writes it unless it is there; of several that try, one does."""
        with _as_os_error():
            try:
                self.store.pipe_file(self.path, data, mode="create")
            except FileExistsError:
                return self.read() == data  # a request that was sent twice meets its own object
            return True

    def remove(self) -> None:
        with _as_os_error():
            self.store.rm_file(self.path)

    def entry(self) -> Entry | None:
        """None where there is nothing."""
        if self.scheme in ROOTS and "/" not in self.path.strip("/"):
            return Entry(self.path, True, 0, None)
        with _as_os_error():
            self.store.invalidate_cache()
            try:
                return _entry_of(self.store.info(self.path))
            except FileNotFoundError:
                return None

    def entries(self) -> list[Entry]:
        """What lies in the folder, by name."""
        with _as_os_error():
            self.store.invalidate_cache()
            try:
                listed = self.store.ls(self.path, detail=True)
            except (FileNotFoundError, NotADirectoryError):
                return []
        # Some stores list an empty folder as something within itself.
        inside = [info for info in listed if str(info["name"]).strip("/") != self.path.strip("/")]
        return sorted(map(_entry_of, inside), key=lambda entry: entry.name)

    def sizes(self) -> dict[str, int]:
        """Every object below, by its name from here, with its bytes.

        Empty ones, which some stores have in place of folders, are left out.
        """
        with _as_os_error():
            self.store.invalidate_cache()
            try:
                found = self.store.find(self.path, detail=True)
            except FileNotFoundError:
                return {}
        start = len(self.path.strip("/")) + 1
        return {name.strip("/")[start:]: int(info["size"]) for name, info in found.items() if info["size"]}


def _entry_of(info: Mapping[str, Any]) -> Entry:
    version = next((str(info[name]) for name in VERSIONS if info.get(name)), None)
    name = str(info["name"]).rstrip("/").rpartition("/")[2]
    return Entry(name, info["type"] == "directory", int(info.get("size") or 0), version)


def scheme_of(place: str | Path) -> str | None:
    """`s3` of `s3://bucket`; None of a path."""
    scheme, colon, _ = str(place).partition("://")
    return scheme if colon and scheme.isalnum() else None


def object_at(address: Path) -> StoredObject:
    """Raises UserError where the library of the store is not installed."""
    scheme = str(scheme_of(address))
    path = str(address).partition("://")[2]
    return StoredObject(_store(scheme, os.getpid()), f"/{path}" if scheme == "memory" else path, scheme)


@cache
def _store(scheme: str, process: int) -> Any:
    """A client, of this process alone: its threads are not there after a fork."""
    if scheme in ("hf", "memory"):
        from fsspec import filesystem

        return filesystem(scheme)
    try:
        from dalda.storage.obstore_client import client
    except ImportError:
        raise UserError(f"addresses of {scheme}:// need obstore: pip install 'dalda[stores]'") from None
    return client(scheme)  # type: ignore[arg-type]


@contextmanager
def _as_os_error() -> Iterator[None]:
    """The errors of a store's client as the system's error, without its list of causes."""
    try:
        yield
    except (OSError, UserError):
        raise
    except Exception as error:
        text = first_line(error).partition(": <?xml")[0]
        raise OSError(0, next((reason for words, reason in REASONS if words in text), text)) from error
