"""Writing what people look at: whole or not at all, and never over something else."""

from errno import EEXIST
from pathlib import Path

from dalda.errors import UserError
from dalda.storage import write


def write_new(path: Path, content: bytes) -> Path:
    """Writes a file that is not there yet; finding the very same content there is as good.

    Raises UserError when another file has that name, or when it cannot be written.
    """
    try:
        if path.is_file() and path.read_bytes() == content:
            return path
        if path.exists():
            raise FileExistsError(EEXIST, "", str(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, content, shared=True)
    except FileExistsError as error:
        raise UserError(
            f"'{error.filename}' is there already and is not overwritten; move it or choose another name"
        ) from None
    except OSError as error:
        raise UserError(f"'{path}' cannot be written ({error.strerror}); choose another place") from error
    return path
