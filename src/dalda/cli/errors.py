"""The end of a command: an exit code, and one sentence for what is not a bug."""

import errno
import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

import click

from dalda.errors import UserError
from dalda.terminal import did_you_mean, printable

ADVICE = {
    errno.ENOSPC: "free some space and run the same command again",
    errno.EDQUOT: "free some space and run the same command again",
    errno.EACCES: "change its permissions, or choose another place",
    errno.EPERM: "change its permissions, or choose another place",
    errno.EROFS: "choose a place that can be written",
    errno.ENOENT: "check the path",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}


class Terminated(KeyboardInterrupt):
    """SIGTERM, as from a scheduler that takes the machine back: the end is that of Ctrl+C."""


def _terminate(number: int, frame: object) -> NoReturn:
    raise Terminated


def exit_code_of(run: Callable[[], Any], *, debug: bool) -> int:
    """Runs a command. A user's mistake and a fault of the machine end in one sentence, a bug in a
    traceback."""
    with suppress(ValueError):  # only the main thread takes signals
        signal.signal(signal.SIGTERM, _terminate)
    try:
        code = run()
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except UserError as error:
        return _end(str(error), 2, debug)
    except click.UsageError as error:
        return _end(_usage(error), 2, debug)
    except BrokenPipeError:
        # Whoever read the output is gone; a second flush at exit must not complain about it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except MemoryError as error:
        detail = f" ({error})" if str(error) else ""
        return _end(f"out of memory{detail}: free some, or work on fewer images at a time", 2, debug)
    except OSError as error:
        if error.errno is None or error.strerror is None:
            raise
        return _end(_fault(error), 2, debug)
    except RuntimeError as error:  # of pathlib, before Python 3.13
        if not str(error).startswith("Symlink loop"):
            raise
        return _end(
            f"a link leads back to itself: {str(error).removeprefix('Symlink loop from ')}", 2, debug
        )
    except KeyboardInterrupt as stop:
        message = str(stop) or "stopped; finished work is kept, run the same command again to resume"
        return _end(message, 143 if isinstance(stop, Terminated) else 130, debug)


def _end(sentence: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print(f"dalda: {printable(sentence)}", file=sys.stderr)
    return code


def _fault(error: OSError) -> str:
    """What the system reports, about which file, and what to do."""
    files = " and ".join(f"'{name}'" for name in (error.filename, error.filename2) if name is not None)
    advice = ADVICE.get(error.errno or 0)
    return f"{error.strerror}{f': {files}' if files else ''}{f'; {advice}' if advice else ''}"


def _usage(error: click.UsageError) -> str:
    """A mistake in the words of the command line, with a suggestion."""
    command = error.ctx.command_path if error.ctx else "dalda"
    if isinstance(error, click.NoSuchOption) and error.ctx is not None:
        names = [name for parameter in error.ctx.command.get_params(error.ctx) for name in parameter.opts]
        near = did_you_mean(error.option_name, [name for name in names if name.startswith("--")])
        return f"{command} has no option {error.option_name}{near or f'; {command} --help lists all'}"
    message = error.format_message().rstrip(".")
    return f"{command}: {message[:1].lower()}{message[1:]}; {command} --help shows how it is used"
