"""Builds wheel and sdist, checks them, and tries the wheel in an empty environment, without the repository.

    python tools/check_release.py [--to dist] [--twine PROGRAM]

The environment is new but for the libraries, which it borrows from the one that runs this.
"""

import argparse
import os
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
TRIED = (
    ("dalda", "--version"),
    ("dalda", "doctor"),
    *[
        ("dalda", *words.split())
        for words in (
            "augment doodles --shots 1 --per-image 1 --steps 1 --only-classes car -o out",
            "export out --to coco --readable-names -o coco",
            "report out -o report.html",
        )
    ],
)
"""Commands of somebody who has just installed it."""


def run(*words: str | Path, cwd: Path = ROOT) -> None:
    """Runs a program without this environment's variables. Raises CalledProcessError where it fails."""
    hidden = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment["DALDA_CACHE"] = str(cwd / "cache")
    subprocess.run([str(word) for word in words], cwd=cwd, env=environment, check=True)


def built(folder: Path) -> tuple[Path, Path]:
    """The wheel and the sdist, newly built."""
    run(sys.executable, "-m", "hatchling", "build", "-d", folder)
    return max(folder.glob("*.whl"), key=os.path.getmtime), max(
        folder.glob("*.tar.gz"), key=os.path.getmtime
    )


def environment_with(package: Path, folder: Path, libraries: Path) -> Path:
    """The folder of the programs of a new environment that holds the package alone."""
    venv.create(folder, with_pip=True)
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    run(programs / "python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", package)
    site = next(folder.glob("[Ll]ib/**/site-packages"))
    (site / "borrowed.pth").write_text(f"{libraries}\n")
    return programs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--to", type=Path, default=ROOT / "dist")
    parser.add_argument("--twine", type=Path, help="the program, for its check of the metadata")
    options = parser.parse_args()
    wheel, sdist = built(options.to.resolve())
    if options.twine:
        run(options.twine.absolute(), "check", "--strict", wheel, sdist)
    with tempfile.TemporaryDirectory() as scratch:
        empty = Path(scratch) / "empty"
        empty.mkdir()
        libraries = Path(sysconfig.get_paths()["purelib"])
        programs = environment_with(wheel, Path(scratch) / "environment", libraries)
        where = f"import dalda, sys; sys.exit(not dalda.__file__.startswith({scratch!r}))"
        run(programs / "python", "-c", where, cwd=empty)
        for program, *words in TRIED:
            run(programs / program, *words, cwd=empty)
    print(f"{wheel.name} and {sdist.name} can be released")


if __name__ == "__main__":
    main()
