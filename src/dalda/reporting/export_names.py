"""File names of an export: by content, or readable ones such as `boat_0011__dalda_03.png`."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LONGEST = 60
"""Bytes of each part of a name; file systems take 255 for all of it."""


@dataclass
class ExportNames:
    """Names that are unique in the whole export, in any folder and on a disk that knows no upper case."""

    readable: bool = False
    _taken: set[str] = field(default_factory=set)

    def real(self, label: str, path: Path, sha256: str) -> str:
        """The name of a real image: its class and its own name, or a hash of its bytes."""
        stem = _of_source(label, path) if self.readable else f"real-{sha256[:20]}"
        return self._unique(stem, sha256, path.suffix.lower())

    def synthetic(self, record: Mapping[str, Any], suffix: str) -> str:
        """The name of a synthetic image: its source, the method and its number, or its request's id."""
        request_id = str(record["request_id"])
        if not self.readable:
            return request_id + suffix
        source = _of_source(str(record["label"]), Path(str(record["source"])))
        stem = f"{source}__{_plain(str(record.get('method', 'image')))}_{int(record['index']):02}"
        return self._unique(stem, request_id, suffix)

    def _unique(self, stem: str, digest: str, suffix: str) -> str:
        if stem.casefold() in self._taken:
            stem = f"{stem}-{digest[:8]}"
        self._taken.add(stem.casefold())
        return stem + suffix


def _of_source(label: str, path: Path) -> str:
    name, source = _plain(label), _plain(path.stem)
    return source if source.casefold().startswith(f"{name.casefold()}_") else f"{name}_{source}"


def _plain(text: str) -> str:
    """Letters, digits, _ and -, of any script: a dot would end the name in a WebDataset."""
    safe = re.sub(r"[^\w-]+", "-", unicodedata.normalize("NFC", text)).strip("-")
    return safe.encode()[:LONGEST].decode(errors="ignore") or "image"
