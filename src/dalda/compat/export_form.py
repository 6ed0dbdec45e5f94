"""The export form of the original DALDA code: aug-INDEX-REPEAT.png and its table of prompts."""

import csv
import io
from collections.abc import Sequence

from dalda.compat.synthetic_folder import TABLE
from dalda.datasets.image_io import open_image
from dalda.errors import UserError
from dalda.reporting.export_forms import EXPORT_FORMS, ExportFolder, ExportForm, ExportImage

PROMPT_COLUMNS = ("source_image_path", "aug_prompt_path", "used_prompt", "scale", "clip_score")
MEAN_COLUMN = "threshold_clipscore"
"""The original DALDA code's name for the mean of the IP-Adapter scale."""


def write_original(images: Sequence[ExportImage], folder: ExportFolder) -> None:
    """Writes the images and the table; INDEX counts the source images."""
    indices: dict[tuple[str, str], int] = {}
    rows: list[list[object]] = [[*PROMPT_COLUMNS, MEAN_COLUMN]]
    for image in images:
        record = image.metadata
        index = indices.setdefault((image.label, str(record["source_sha256"])), len(indices))
        name = f"aug-{index}-{int(record['repeat'])}.png"
        if (folder.path / name).exists():
            raise UserError(
                "two source images of a class are the same file, which the original DALDA code's names "
                "cannot tell apart; export another form"
            )
        if image.path.suffix.lower() == ".png":
            folder.add_image(image.path, name)
        else:
            open_image(image.path).save(folder.path / name, format="PNG")
            folder.copied += 1
            folder.progress.advance()
        scale, mean = record["ip_adapter_scale"], record.get("ip_adapter_scale_mean")
        row = [record["source"], name, record["prompt"], scale, record["source_clip_probability"]]
        rows.append([*row, scale if mean is None else mean])
    file = io.StringIO(newline="")
    csv.writer(file).writerows(rows)
    folder.add_file(TABLE, file.getvalue())


EXPORT_FORMS["original"] = ExportForm(write_original, holds_real_images=False)
