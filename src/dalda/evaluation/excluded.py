"""RUN/excluded.jsonl: a line per synthetic image that a trial or an arm did not use, with the reason."""

import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from dalda.errors import UserError
from dalda.storage import append_lines, exists, jsonl, parse_json, read_bytes, write

EXCLUDED = "excluded.jsonl"


@dataclass(frozen=True)
class Excluded:
    """A synthetic image that an arm did not use, and why."""

    arm: str
    request_id: str
    reason: str
    kind: str
    """The reason as it is counted."""


@dataclass(frozen=True)
class ExcludedLog:
    """The lines of a run, read once; new ones are added at the end, so that a long study stays quick."""

    path: Path

    def put(self, name: str, excluded: Sequence[Excluded]) -> None:
        """Makes these the lines of `name` (a trial's id, or an arm)."""
        lines = [json.dumps({"of": name, **asdict(one)}, ensure_ascii=False) for one in excluded]
        before = self._lines.get(name, [])
        if lines == before:
            return
        self._lines[name] = lines
        if not before:
            append_lines(self.path, lines)
        else:  # as after another decision in a review
            self._write(self._lines)

    def put_in_order(self, names: Sequence[str]) -> None:
        """Puts the lines of `names` into this order, so that it cannot be seen which trial ended first."""
        known = [name for name in names if self._lines.get(name)]
        ordered = {name: self._lines[name] for name in known}
        if known != [name for name in self._lines if name in ordered]:
            others = {name: block for name, block in self._lines.items() if name not in ordered}
            self._write({**others, **ordered})

    def _write(self, lines: dict[str, list[str]]) -> None:
        write(self.path, "".join(f"{line}\n" for block in lines.values() for line in block))

    def counts(self, names: Collection[str]) -> dict[str, Counter[str]]:
        """Arm to reason to how many images, of the named trials or arms."""
        found: dict[str, Counter[str]] = {}
        for name in self._lines.keys() & set(names):
            for line in map(self._parsed, self._lines[name]):
                found.setdefault(line["arm"], Counter())[line["kind"]] += 1
        return found

    @cached_property
    def _lines(self) -> dict[str, list[str]]:
        """The lines by what they are of."""
        jsonl.fix(self.path, self._whole)
        data = read_bytes(self.path, limit=None) if exists(self.path) else b""
        found: dict[str, list[str]] = {}
        for line in data.decode(errors="replace").split("\n")[:-1]:
            found.setdefault(self._parsed(line)["of"], []).append(line)
        return found

    def _whole(self, line: bytes) -> dict[str, str] | None:
        try:
            return self._parsed(line.decode())
        except (ValueError, UserError):
            return None

    def _parsed(self, line: str) -> dict[str, str]:
        what = "a list of excluded images"
        found: dict[str, str] = parse_json(line, f"'{self.path}'", what)
        if not isinstance(found, dict) or not all(
            isinstance(found.get(key), str) for key in ("of", "arm", "kind")
        ):
            raise UserError(f"'{self.path}' is not {what}; take it and the results away")
        return found
