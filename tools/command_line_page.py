"""Prints docs/command-line.md: every command and option, from the command line itself (`make docs`)."""

import sys
from collections.abc import Iterator

import click

from dalda.cli import app
from dalda.cli.commands import COMMANDS, GROUPS, PANELS

HEAD = """# The command line

`dalda COMMAND --help` shows the same in a terminal. `make docs` writes this page.

Results go to stdout, progress and notes to stderr. Every command takes `--json` (one JSON object on
stdout), `--quiet` (no progress, no notes), `--debug` (a traceback for every error) and `-h`. A mistake ends
in one sentence and exit code 2, an interruption in exit code 130.
"""
SHARED = {"--json", "--quiet", "--debug", "--help"}


def page() -> Iterator[str]:
    yield HEAD
    for group in GROUPS:
        rows = {name: spec.help for name, spec in COMMANDS.items() if spec.group == group}
        yield f"**{group}**\n"
        yield from (
            f"- [`dalda {name}`](#dalda-{name.replace(' ', '-')}): {about}" for name, about in rows.items()
        )
        yield ""
    for name in COMMANDS:
        yield from section(name)


def section(name: str) -> Iterator[str]:
    """One command: what it does, how it is used, and its options by section."""
    command: click.Command = app
    context = click.Context(command, info_name="dalda")
    for word in name.split():
        assert isinstance(command, click.Group)
        found = command.get_command(context, word)
        assert found is not None, f"no command '{name}'"
        context, command = click.Context(found, info_name=word, parent=context), found
    yield f"## dalda {name}\n\n{command.help}\n"
    yield f"```console\n$ {' '.join([context.command_path, *command.collect_usage_pieces(context)])}\n```\n"
    for panel in PANELS.values():
        records = [
            parameter.get_help_record(context)
            for parameter in command.get_params(context)
            if getattr(parameter, "panel", PANELS["shared"]) == panel and not SHARED & set(parameter.opts)
        ]
        if records:
            yield f"{panel if panel != PANELS['shared'] else 'Also'}:\n"
            yield from (f"- `{option}`{about and f': {about}'}" for option, about in filter(None, records))
            yield ""


if __name__ == "__main__":
    sys.stdout.write("\n".join(page()).rstrip() + "\n")
