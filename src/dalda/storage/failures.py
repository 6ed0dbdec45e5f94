"""What the disk refuses, as one sentence that says what happened and what to do."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dalda.errors import UserError

Place = Path | str
"""A local path, or the address of an object store such as `s3://bucket/name`."""

_ADVICE = {
    errno.ENOSPC: ("the disk is full", "free some space and run the same command again"),
    errno.EDQUOT: ("the disk quota is used up", "free some space and run the same command again"),
    errno.ELOOP: ("it is a symbolic link, which is not followed", "remove it or choose another place"),
    errno.EISDIR: ("it is a folder", "name a file"),
    errno.ENOTDIR: ("a part of the path is a file", "choose another place"),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter one"),
    errno.ENOENT: ("there is no such file or folder", "check the path"),
    errno.EACCES: ("permission denied", "change its permissions or choose another place"),
    errno.EROFS: ("the disk is read-only", "choose another place"),
}


class StorageError(UserError, OSError):
    """A file or folder that cannot be used, with the attributes of the system's error."""

    def __str__(self) -> str:
        return str(self.args[0])


class NotFound(StorageError, FileNotFoundError):
    """There is no such file."""


class AlreadyThere(StorageError, FileExistsError):
    """There is such a file already, and it is kept."""


@contextmanager
def explained(place: Place, action: str) -> Iterator[None]:
    """Turns the system's errors on `place` into a StorageError; `action` is `read` or `written`."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        raise failure(place, action, error) from error


def failure(place: Place, action: str, error: OSError) -> StorageError:
    """The StorageError of a system's error."""
    if isinstance(error, FileExistsError) or error.errno == errno.ENOTEMPTY:
        return already_there(place)
    reason = error.strerror or str(error) or type(error).__name__
    number = errno.ENOENT if isinstance(error, FileNotFoundError) else error.errno or 0
    what, advice = _ADVICE.get(number, (reason, "fix this and run the same command again"))
    kind = NotFound if isinstance(error, FileNotFoundError) else StorageError
    return made(kind, f"'{place}' cannot be {action}: {what}; {advice}", number, reason, place)


def already_there(place: Place) -> StorageError:
    """For a file that is kept, since nothing is overwritten."""
    sentence = f"'{place}' is there already and is not overwritten; move it or choose another name"
    return made(AlreadyThere, sentence, errno.EEXIST, "File exists", place)


def linked(place: Place) -> StorageError:
    """For a link in a place where dalda makes none."""
    return failure(place, "written", OSError(errno.ELOOP, "symbolic link"))


def made(
    kind: type[StorageError], sentence: str, number: int | None, reason: str, place: Place
) -> StorageError:
    """An error with the attributes that a system's error has."""
    error = kind(sentence)
    error.errno, error.strerror, error.filename = number, reason, str(place)
    return error
