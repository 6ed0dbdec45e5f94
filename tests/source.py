"""The package's own files, read as Python."""

import ast
from pathlib import Path


def tree_of(file: Path) -> ast.Module:
    """The parsed file.

    Parsed again while another thread parses too (as one that logs an exception does): before 3.12 CPython
    counts the depth of all threads in one place, and gives up (python/cpython#106905).
    """
    while True:
        try:
            return ast.parse(file.read_text(encoding="utf-8"))
        except SystemError:
            continue
