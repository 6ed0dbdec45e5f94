"""Which backbones fit a data set."""

import pytest

from dalda.config import DataConfig
from dalda.evaluation.backbones.table import ROWS
from dalda.workflows.synthetic_sets import backbone_for, clip_for, say_default


@pytest.mark.parametrize(
    ("dataset", "backbone", "clip"),
    [
        ("doodles", "doodle-vision", "doodle"),
        ("doodles-iid", "doodle-vision", "doodle"),
        ("photos", "clip", "clip"),
    ],
)
def test_each_data_set_has_a_backbone_and_a_clip(dataset: str, backbone: str, clip: str) -> None:
    config = DataConfig(dataset=dataset)
    assert (backbone_for(config, None), clip_for(config)) == (backbone, clip)
    assert ROWS[clip].reads_text
    assert backbone_for(config, clip) == clip


def test_a_backbone_of_the_data_sets_own_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    say_default(DataConfig(dataset="doodles"), "doodle-vision")
    assert "the backbone is 'doodle-vision', which never saw the classes of doodles; 'doodle'" in (
        capsys.readouterr().err
    )
    say_default(DataConfig(dataset="photos"), "clip")
    assert capsys.readouterr().err == ""
