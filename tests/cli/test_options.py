"""Options from models: every field is one option, and every wrong value gets one sentence."""

from pathlib import Path
from typing import Any, Literal

import click
import pytest

import dalda.config
from dalda.cli.app import app, command_of
from dalda.cli.commands import COMMANDS, PANELS, CommandSpec
from dalda.cli.options import config_of, parameters_of
from dalda.config import AugmentConfig, CompareConfig, EvaluateConfig, TrainConfig
from dalda.config.data import Strict
from dalda.config.roles import Content, Execution, Location, NoneWord
from dalda.errors import UserError

SPEC = COMMANDS["augment"]


class Small(Strict):
    """A configuration with a field of every kind."""

    places: tuple[Path, ...] = Location(())
    """Folders."""
    kind: Literal["round", "square"] | None = Content(None)
    """A shape."""
    count: int = Content(3, ge=1)
    """How many."""
    browser: bool = Execution(True)
    """Opens no browser."""


def parsed(words: list[str], spec: CommandSpec, model: type[Strict]) -> Any:
    command = click.Command("x", params=list(parameters_of(spec, model)))
    return config_of(spec, model, command.make_context("x", words).params)


def test_every_field_of_every_command_is_documented_and_in_a_section() -> None:
    context = click.Context(app)
    for name, spec in COMMANDS.items():
        model = getattr(dalda.config, spec.config)
        for field_name, field in model.model_fields.items():
            assert field.description, f"{spec.config}.{field_name} has no docstring"
        for parameter in command_of(name, spec).get_params(context):
            assert getattr(parameter, "panel", PANELS["shared"]) in PANELS.values()
            record = parameter.get_help_record(context)
            assert record is not None
            assert record[1], (name, parameter.name)


def test_text_becomes_values_of_every_kind() -> None:
    words = ["--places", "a", "--places", "b", "--kind", "round", "--count", "7", "--no-browser"]
    spec = CommandSpec("Data", "", "", "")
    assert parsed(words, spec, Small) == Small(
        places=(Path("a"), Path("b")), kind="round", count=7, browser=False
    )
    assert parsed([], spec, Small) == Small()


def test_a_default_is_shown_as_it_is_written() -> None:
    shown = {
        option.name: option.help
        for option in parameters_of(COMMANDS["compare"], CompareConfig)
        if isinstance(option, click.Option)
    }
    assert str(shown["shots"]).endswith("[default: 1,4,16]")
    assert str(shown["methods"]).endswith("[default: all]")
    assert "default" not in str(shown["guidance_scales"])


def test_positional_renamed_and_none_words() -> None:
    config = parsed(["OUT", "--against", "photos", "--shots", "all"], COMMANDS["evaluate"], EvaluateConfig)
    assert (config.synthetic, config.dataset, config.shots) == (Path("OUT"), "photos", None)
    words = ["photos", "-o", "x", "--batch-size", "auto", "--guidance-interval", "0.2:0.8"]
    config = parsed([*words, "--model-option", "size=64", "--model-option", "a=b=c"], SPEC, AugmentConfig)
    assert (config.batch_size, config.guidance_interval) == (None, (0.2, 0.8))
    assert config.model_option == {"size": "64", "a": "b=c"}
    assert (
        parsed(["x", "--feature-views", "online"], COMMANDS["train"], TrainConfig).feature_views == "online"
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "DATASET is missing: a folder of class folders"),
        (["x"], "--out is missing: the folder of the synthetic set"),
        (
            ["x", "-o", "y", "--shots", "0"],
            "--shots cannot be '0': input should be greater than or equal to 1",
        ),
        (["x", "-o", "y", "--format", "pngg"], "choose png, webp or jpeg; did you mean 'png'?"),
        (["x", "-o", "y", "--scheduler", "unipcc"], "did you mean 'unipc'?"),
        (["x", "-o", "y", "--model-option", "size"], "--model-option cannot be 'size'; write NAME=VALUE"),
    ],
)
def test_a_wrong_value_is_one_sentence(words: list[str], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        parsed(words, SPEC, AugmentConfig)
    assert sentence in str(caught.value)


def test_a_none_word_is_read_everywhere() -> None:
    class Limits(Strict):
        limit: int | None = Content(None)

    assert NoneWord("all").read("all") is None
    assert NoneWord("all").read("3") == "3"
    assert Limits(limit="3").limit == 3  # type: ignore[arg-type]
    assert AugmentConfig(dataset="x", out=Path("y"), shots="all").shots is None  # type: ignore[arg-type]
