"""A synthetic set in the forms that others read, with the real images beside it where that is wanted."""

import csv
import io
import json
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dalda.compat.synthetic_folder import TABLE as PROMPTS
from dalda.config import ExportConfig
from dalda.datasets.image_io import IMAGE_SUFFIXES, check_image, open_image, sha256_of
from dalda.errors import UserError
from dalda.generation.synthetic_dataset import METADATA, TRAIN, SyntheticDataset, folder_name
from dalda.progress import Progress, progress
from dalda.seeding import generator_of
from dalda.types import SyntheticImage
from dalda.workflows.original_folder import MEAN, PROMPT_COLUMNS
from dalda.workflows.synthetic_sets import synthetic_set

SHARD = 1000
"""Images in one tar file of a WebDataset."""
TABLE = "metadata.csv"
FORMULAS = ("=", "+", "-", "@", "\t", "\r")
FIRST_COLUMNS = (
    "file_name",
    "label",
    "origin",
    "source",
    "prompt",
    "ip_adapter_scale",
    "source_clip_probability",
)


@dataclass(frozen=True)
class Item:
    """One image of an export: where it lies, what it will be called, and what is known of it."""

    path: Path
    label: str
    name: str
    """A file name, made here and never read from the set's metadata."""
    about: Mapping[str, Any]

    @property
    def place(self) -> str:
        """Relative to the folder of all classes."""
        return f"{folder_name(self.label)}/{self.name}"


@dataclass
class Exported:
    """How much was written."""

    out: Path
    to: str
    synthetic: int
    real: int
    rejected: int
    linked: int = 0
    copied: int = 0
    files: list[str] = field(default_factory=list)
    """What to read first, relative to `out`."""

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "out": str(self.out)}

    def lines(self) -> list[str]:
        lines = [f"{self.synthetic} synthetic and {self.real} real images: {self.out}"]
        if self.linked:
            lines.append(
                f"{self.linked} are hard links to the files that were there, which take no room; "
                "what edits one of them in place edits both"
            )
        if self.rejected:
            lines.append(f"{self.rejected} were rejected in review and left out")
        return lines


def export(config: ExportConfig) -> Exported:
    """Writes `config.source` in the form `config.to` at `config.out`, whole or not at all.

    Raises UserError for an output that is there already, a image that is not what the metadata says,
    and real images where the form has no place for them.
    """
    if config.to == "original" and config.with_real:
        raise UserError("the original code's format holds no real images; leave --with-real out")
    refuse_taken(config.out)
    made = synthetic_set(config.source, ignore_review=config.ignore_review)
    lines = {str(line["request_id"]): line for line in SyntheticDataset.existing(config.source).lines()}
    items = [synthetic_item(config.source, one, lines[one.request_id]) for one in made.samples]
    real = real_items(config.source) if config.with_real else {}
    if real:
        places = {key: item.place for key, item in real.items()}
        items = [_with_source(item, places) for item in items]
    done = Exported(config.out, config.to, len(items), len(real), len(made.rejected))
    everything = [*real.values(), *items]
    if config.to == "csv":
        _write_table(config.out, _csv(everything, lambda item: str(item.path.resolve())))
        return done
    with _new_folder(config.out) as folder, progress("export", len(everything)) as bar:
        FORMS[config.to](everything, folder, done, bar)
    return done


def refuse_taken(out: Path) -> None:
    """Raises UserError unless nothing, or an empty folder, is there."""
    if out.is_dir() and not any(out.iterdir()):
        return
    if out.exists() or out.is_symlink():
        raise UserError(f"'{out}' is there already and is not overwritten; name another with -o")


def synthetic_item(folder: Path, sample: SyntheticImage, line: Mapping[str, Any]) -> Item:
    """A sample of the set, once its file and its name are known to be harmless."""
    suffix = sample.path.suffix.lower()
    inside = sample.path.resolve().is_relative_to(folder.resolve())
    if not re.fullmatch(r"[0-9a-f]{8,64}", sample.request_id) or suffix not in IMAGE_SUFFIXES or not inside:
        raise UserError(
            f"the metadata of '{folder}' names {str(sample.path)!r} for the request {sample.request_id!r}, "
            "which dalda has not written so; take that line out"
        )
    about = {key: value for key, value in line.items() if key != "file_name"}
    return Item(sample.path, sample.label, sample.request_id + suffix, {**about, "origin": "synthetic"})


def real_items(folder: Path) -> dict[tuple[str, str], Item]:
    """The real images that the set was made from, each once, those included whose copies were dropped.

    Raises UserError for one that is gone or is another image now.
    """
    store, found = SyntheticDataset.existing(folder), {}
    for line in (*store.lines(), *store.dropped()):
        key = (str(line["label"]), str(line["source_sha256"]))
        if key in found:
            continue
        path = Path(str(line["source"]))
        if path.suffix.lower() not in IMAGE_SUFFIXES or not path.is_file() or sha256_of(path) != key[1]:
            raise UserError(
                f"the real image '{path}' is gone or has changed since; put it back, "
                "or leave --with-real out"
            )
        check_image(path)
        about = {"label": key[0], "origin": "real", "source": path.as_posix(), "source_sha256": key[1]}
        found[key] = Item(path, key[0], f"real-{key[1][:20]}{path.suffix.lower()}", about)
    return found


def _with_source(item: Item, places: Mapping[tuple[str, str], str]) -> Item:
    """The item with its source as it is called in the export."""
    source = places[item.label, str(item.about["source_sha256"])]
    return Item(item.path, item.label, item.name, {**item.about, "source": source})


def _folder(items: Sequence[Item], out: Path, done: Exported, bar: Progress) -> None:
    _place_all(items, out / TRAIN, done, bar)
    _write_table(out / TABLE, _csv(items, lambda item: f"{TRAIN}/{item.place}"))
    done.files += [TRAIN, TABLE]


def _hugging_face(items: Sequence[Item], out: Path, done: Exported, bar: Progress) -> None:
    _place_all(items, out / TRAIN, done, bar)
    # Every line has the same columns: the loader takes them from the first one.
    columns = list(dict.fromkeys(key for item in reversed(items) for key in item.about))
    lines = [{"file_name": item.place, **{key: item.about.get(key) for key in columns}} for item in items]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    (out / TRAIN / METADATA).write_text(text, encoding="utf-8", errors="backslashreplace")
    done.files += [f"{TRAIN}/{METADATA}"]


def _webdataset(items: Sequence[Item], out: Path, done: Exported, bar: Progress) -> None:
    """Tar files in an order that mixes the classes, as they are read one after the other."""
    classes = list(dict.fromkeys(item.label for item in items))
    order = generator_of(0, "webdataset").permutation(len(items))
    for number, start in enumerate(range(0, len(items), SHARD)):
        name = f"train-{number:06}.tar"
        with tarfile.open(out / name, "x") as tar:
            for place in order[start : start + SHARD]:
                item = items[int(place)]
                stem, suffix = os.path.splitext(item.name)
                about = json.dumps(dict(item.about), ensure_ascii=True)
                _add(tar, stem + suffix, item.path.read_bytes())
                _add(tar, f"{stem}.cls", str(classes.index(item.label)).encode())
                _add(tar, f"{stem}.json", about.encode())
                done.copied += 1
                bar.advance()
        done.files.append(name)
    (out / "classes.json").write_text(json.dumps(classes), encoding="utf-8")
    done.files.append("classes.json")


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """A member without owner and time: the same set gives the same bytes."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o644
    tar.addfile(info, io.BytesIO(data))


def _original(items: Sequence[Item], out: Path, done: Exported, bar: Progress) -> None:
    """The original code's folder: aug-INDEX-REPEAT.png and its table; INDEX counts the real images."""
    indices: dict[tuple[str, str], int] = {}
    rows = []
    for item in items:
        about = item.about
        index = indices.setdefault((item.label, str(about["source_sha256"])), len(indices))
        target = out / f"aug-{index}-{int(about['repeat'])}.png"
        if target.exists():
            raise UserError(
                "two real images of a class are the same file, which the original code's names cannot tell "
                "apart; export another form"
            )
        if item.path.suffix.lower() == ".png":
            _place(item.path, target, done)
        else:
            open_image(item.path).save(target, format="PNG")
            done.copied += 1
        bar.advance()
        mean = about.get("ip_adapter_scale_mean")
        values = (about["source"], target.name, about["prompt"], about["ip_adapter_scale"])
        rows.append(
            [*values, about["source_clip_probability"], about["ip_adapter_scale"] if mean is None else mean]
        )
    file = io.StringIO(newline="")
    csv.writer(file).writerows([[*PROMPT_COLUMNS, MEAN], *rows])
    _write_table(out / PROMPTS, file.getvalue())
    done.files.append(PROMPTS)


FORMS: dict[str, Callable[[Sequence[Item], Path, Exported, Progress], None]] = {
    "folder": _folder,
    "hf": _hugging_face,
    "webdataset": _webdataset,
    "original": _original,
}


def _place_all(items: Sequence[Item], root: Path, done: Exported, bar: Progress) -> None:
    for item in items:
        target = root / item.place
        target.parent.mkdir(parents=True, exist_ok=True)
        _place(item.path, target, done)
        bar.advance()


def _place(path: Path, target: Path, done: Exported) -> None:
    """A hard link where the disk allows it, else a copy."""
    try:
        os.link(path.resolve(), target)
        done.linked += 1
    except FileExistsError:
        # Never copied into: what lies there is a link to another image of the set.
        raise UserError(f"two images would both be '{target.name}'; take one of their lines out") from None
    except OSError:
        shutil.copyfile(path, target)
        done.copied += 1


def _csv(items: Sequence[Item], name: Callable[[Item], str]) -> str:
    """A line per image, the same columns for real and synthetic ones."""
    known = dict.fromkeys(key for item in items for key in item.about)
    columns = [*FIRST_COLUMNS, *(key for key in known if key not in FIRST_COLUMNS)]
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, columns, restval="")
    rows = [dict(zip(columns, columns, strict=True))]
    rows += [{"file_name": name(item), **item.about} for item in items]
    writer.writerows({key: _harmless(value) for key, value in row.items()} for row in rows)
    return file.getvalue()


def _harmless(cell: Any) -> Any:
    """Text that a spreadsheet would compute is marked as text, for a stranger may have written it."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULAS) else cell


def _write_table(path: Path, text: str) -> None:
    from dalda.reporting.files import write_new

    write_new(path, text.encode("utf-8", "backslashreplace"))


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """A folder beside the output, which takes its name when all is in it; a failure leaves nothing."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent))
    try:
        yield partial
        # What mkdtemp makes is for its owner alone.
        partial.chmod(0o777 & ~_umask())
        if out.is_dir():
            out.rmdir()
        partial.rename(out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
