"""The command line: commands are built when they are used, so that `dalda --help` is quick."""

import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pkgutil import resolve_name
from typing import Any

import click

from dalda import __version__
from dalda.cli.commands import COMMANDS, GROUPS, PANELS, CommandSpec
from dalda.cli.errors import exit_code_of
from dalda.errors import UserError
from dalda.terminal import did_you_mean, printable

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 120}
SHARED = {
    "json": "Print the result as one JSON object on stdout.",
    "quiet": "No progress and no notes on stderr.",
    "debug": "Show the traceback of every error.",
}


class Command(click.Command):
    """A command whose options come from its configuration model."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        panels: dict[str, list[tuple[str, str]]] = {panel: [] for panel in PANELS.values()}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record:
                panels[getattr(parameter, "panel", PANELS["shared"])].append(record)
        for panel, records in panels.items():
            if records:
                with formatter.section(panel):
                    formatter.write_dl(records, col_max=34)


class Commands(click.Group):
    """The commands whose names begin with a prefix, by group."""

    def __init__(self, prefix: str = "", **settings: Any) -> None:
        super().__init__(context_settings=SETTINGS, **settings)
        self.prefix = prefix

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args or ["--help"])

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in (key.removeprefix(self.prefix) for key in COMMANDS) if " " not in name]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if not self.prefix and name == "config":
            return Commands("config ", name="config", help="Files of studies.")
        spec = COMMANDS.get(self.prefix + name)
        return None if spec is None else command_of(name, spec)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            near = did_you_mean(args[0], self.list_commands(ctx))
            raise UserError(f"there is no command '{args[0]}'{near or '; dalda --help lists all'}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for group in GROUPS:
            rows = [
                (key.removeprefix(self.prefix), spec.help)
                for key, spec in COMMANDS.items()
                if spec.group == group and key.startswith(self.prefix)
            ]
            if rows:
                with formatter.section(group):
                    formatter.write_dl(rows)

    def main(self, args: Sequence[str] | None = None, *other: Any, **settings: Any) -> Any:
        """Runs a command and ends the process with its exit code."""
        words = list(sys.argv[1:] if args is None else args)
        sys.exit(exit_code_of(lambda: self.run(words), debug="--debug" in words))

    def run(self, words: list[str]) -> Any:
        try:
            with self.make_context("dalda", list(words)) as context:
                return self.invoke(context)
        except click.exceptions.Exit as end:
            return end.exit_code


def command_of(name: str, spec: CommandSpec) -> Command:
    """The click command of a row of the table."""
    from dalda.cli.options import config_of, parameters_of

    model = resolve_name(f"dalda.config:{spec.config}")
    flags = dict(SHARED)
    if spec.dry_run:
        flags = {"dry_run": "Show what would be done, and do nothing.", **flags}
    options = [
        click.Option([f"--{flag.replace('_', '-')}", flag + "_"], is_flag=True, help=about)
        for flag, about in flags.items()
    ]

    def run(**values: Any) -> int:
        on = {flag: values.pop(flag + "_") for flag in flags}
        config = config_of(spec, model, values)
        dry = on.get("dry_run", False)
        with silence() if on["quiet"] else nullcontext():
            result = resolve_name(spec.dry_run if dry else spec.run)(config)
        return show(result, as_json=on["json"], next_step="" if dry or on["quiet"] else step(spec, config))

    parameters = [*parameters_of(spec, model), *options]
    return Command(name, callback=run, params=parameters, help=spec.help, context_settings=SETTINGS)


@contextmanager
def silence() -> Iterator[None]:
    """No progress and no notes within the block; errors are still printed."""
    from dalda.progress import LOGGER, quiet

    level = LOGGER.level
    quiet()
    try:
        yield
    finally:
        LOGGER.setLevel(level)


def show(result: Any, *, as_json: bool, next_step: str) -> int:
    """Prints a result on stdout and the next step on stderr; the exit code."""
    from dalda.cli.actions import Output
    from dalda.cli.output import json_of, lines_of

    if isinstance(result, Output):
        output = result
    else:
        output = Output(json_of(result), [] if as_json else lines_of(result))
    if as_json:
        print(json.dumps(json_of(output.json)))
        return output.exit_code
    for line in output.lines:
        print(printable(line))
    if next_step and output.exit_code == 0:
        print(f"next: {next_step}", file=sys.stderr)
    return output.exit_code


def step(spec: CommandSpec, config: Any) -> str:
    """The next command, with this one's values; nothing where one of them is not known."""
    values = {}
    for name in type(config).model_fields:
        value = getattr(config, name)
        words = value if isinstance(value, tuple) else (value,)
        values[name] = " ".join(shlex.quote(printable(word)) for word in words)
        if value is None and f"{{{name}}}" in spec.next_step:
            return ""
    return spec.next_step.format(**values)


app = Commands(
    name="dalda",
    help="More training images from a few, by captions and a diffusion model, and a measured answer to "
    "whether they helped.",
    epilog="dalda COMMAND --help lists the options of a command.",
)
click.version_option(__version__, message="dalda %(version)s", help="Show the version.")(app)
