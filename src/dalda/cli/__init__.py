"""The command line: parse, call one function, print."""

import sys
from io import TextIOWrapper

from dalda.cli.app import app as app


def main() -> None:
    """The entry point of `dalda`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # A class name in any script must not end a run on a terminal that cannot show it.
            stream.reconfigure(errors="backslashreplace")
    app()
