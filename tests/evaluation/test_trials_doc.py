"""docs/trials.md: its tables name what there is."""

import re
from dataclasses import fields
from pathlib import Path

from dalda.evaluation.backbones.table import ROWS
from dalda.evaluation.comparison import ArmSummary
from dalda.evaluation.generative_metrics import SetMeasures
from dalda.evaluation.mixing import WAYS

PAGE = (Path(__file__).parents[2] / "docs" / "trials.md").read_text(encoding="utf-8")


def test_the_tables_name_what_there_is() -> None:
    first_cells = set(re.findall(r"^\| `([\w-]+)`", PAGE, re.MULTILINE))
    counts = {"real_images", "synthetic_images"}
    shown = {field.name for field in fields(ArmSummary)} - counts - {"accuracy_by_seed"}
    assert {*shown, *ROWS, *WAYS, *({field.name for field in fields(SetMeasures)} - counts)} <= first_cells
