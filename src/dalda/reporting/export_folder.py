"""The new folder of an export, and the images that go into it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dalda.errors import UserError
from dalda.generation.folder_names import folder_name
from dalda.progress import Progress
from dalda.storage import link_or_copy, open_new


@dataclass(frozen=True, slots=True)
class ExportImage:
    """One image of an export: its file, its new name, and its metadata."""

    path: Path
    label: str
    name: str
    """A file name that dalda made; never one that was read from metadata."""
    metadata: Mapping[str, Any]

    @property
    def relative_path(self) -> str:
        """From the folder that holds all class folders."""
        return f"{folder_name(self.label)}/{self.name}"


@dataclass
class ExportFolder:
    """The new folder of an export, with counts of what was written."""

    path: Path
    progress: Progress
    sources: Sequence[tuple[str, str]] = ()
    """(class, SHA-256) of all source images, class by class; those without an image are last in theirs."""
    linked: int = 0
    copied: int = 0
    files: list[str] = field(default_factory=list)
    """What to read first, relative to the folder."""

    def add_image(self, source: Path, name: str) -> None:
        """Puts an image file at `name`: a hard link where the disk allows it, else a copy."""
        try:
            linked = link_or_copy(source, self.path / name, root=self.path)
        except FileExistsError:
            # Never written into: the file that is there is a link to another image of the set.
            raise UserError(f"two images would both be '{name}'; take one of their lines out") from None
        self.linked += linked
        self.copied += not linked
        self.progress.advance()

    def add_images(self, images: Iterable[ExportImage], below: str) -> None:
        """Puts images into class folders below a folder of the export."""
        for image in images:
            self.add_image(image.path, f"{below}/{image.relative_path}")

    def add_file(self, name: str, content: bytes | str | Iterable[str]) -> None:
        """Writes a new file, at once or piece by piece, and lists it."""
        with open_new(self.path / name, root=self.path) as file:
            for piece in (content,) if isinstance(content, bytes | str) else content:
                file.write(piece if isinstance(piece, bytes) else piece.encode(errors="backslashreplace"))
        self.files.append(name)


def places_of_classes(images: Iterable[ExportImage]) -> dict[str, int]:
    """The place of each class, in the order of the images."""
    return {label: place for place, label in enumerate(dict.fromkeys(image.label for image in images))}
