"""`dalda models`: what is listed, and what fits a machine."""

import pytest
from click.testing import CliRunner

from dalda.cli import app
from dalda.config import ModelsConfig
from dalda.workflows import models as workflow


def test_the_list_says_what_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workflow, "memory_gigabytes", lambda: ("NVIDIA L4", 24.0))
    report = workflow.list_models(ModelsConfig())
    rows = {row.name: row for row in report.models}
    assert rows["doodle"].on_disk
    assert (rows["sd15"].fits, rows["flux-dev"].fits, rows["sdxl"].fits) == ("none", "sequential", "none")
    assert rows["klein"].fits == "none"
    assert rows["sd15"].images_per_second == pytest.approx(1.19, abs=0.01)
    monkeypatch.setattr(workflow, "memory_gigabytes", lambda: ("cpu", 2.0))
    assert {row.fits for row in workflow.list_models(ModelsConfig()).models} == {
        "none",
        "sequential",
        None,
    }


def test_the_command_and_its_mistakes() -> None:
    listed = CliRunner().invoke(app, ["models"])
    assert listed.exit_code == 0, listed.output
    assert "CreativeML OpenRAIL-M" in listed.stdout
    wrong = CliRunner().invoke(app, ["models", "fetch", "sd15"])
    assert wrong.exit_code == 2
    assert "write dalda models get NAME" in wrong.output
    unknown = CliRunner().invoke(app, ["models", "get", "sd15", "sd99"])
    assert unknown.exit_code == 2
    assert "there is no preset 'sd99'" in unknown.output
