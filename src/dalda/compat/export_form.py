"""The export form of the original DALDA code: aug-INDEX-REPEAT.png and its table of prompts."""

from collections.abc import Sequence

from dalda.compat.prompt_table import TABLE, prompt_table
from dalda.datasets.image_io import open_image
from dalda.errors import UserError
from dalda.reporting.export_folder import ExportFolder, ExportImage


def write_original(images: Sequence[ExportImage], folder: ExportFolder) -> None:
    """Writes the images and the table.

    INDEX counts all source images class by class, for the original DALDA code takes an image's label from
    its index: a source without an image keeps its number. Raises UserError where the numbers are unknown.
    """
    with_image = {image.label for image in images}
    without = next((label for label, _ in folder.sources if label not in with_image), None)
    if without is not None:
        raise UserError(
            f"no image of the class '{without}' is left, so the original DALDA code would misread the "
            "images of other classes; generate it again or export another form"
        )
    index_of = {source: index for index, source in enumerate(folder.sources)}
    rows: list[tuple[object, ...]] = []
    names: set[str] = set()
    for image in images:
        record = image.metadata
        index = index_of[image.label, str(record["source_sha256"])]
        name = f"aug-{index}-{int(record['index'])}.png"
        if name in names:
            raise UserError(
                "two source images of a class are the same file, which the original DALDA code's names "
                "cannot tell apart; export another form"
            )
        names.add(name)
        if image.path.suffix.lower() == ".png":
            folder.add_image(image.path, name)
        else:
            open_image(image.path).save(folder.path / name, format="PNG")
            folder.copied += 1
            folder.progress.advance()
        values = (record["source"], name, record["prompt"], record["ip_adapter_scale"])
        rows.append((*values, record["source_clip_probability"], record.get("ip_adapter_scale_mean")))
    folder.add_file(TABLE, prompt_table(rows))
