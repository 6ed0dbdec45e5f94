"""The tables of WordNet in src/dalda/datasets: the name of each id of a thing, and what lives in nature.

    python tools/wordnet_table.py FOLDER

FOLDER holds data.noun and index.noun of WordNet 3.0, whose offsets the ids of ImageNet are (n02112018).
"""

import argparse
import gzip
from collections.abc import Iterator
from pathlib import Path

THINGS = {"05": "animal", "06": "artifact", "08": "body", "13": "food", "17": "object", "20": "plant"}
"""The files of WordNet that hold things which can be photographed."""
NATURE = ("05", "20")
FOLDER = Path(__file__).parents[1] / "src/dalda/datasets"


def synsets(folder: Path) -> Iterator[tuple[str, str, list[str]]]:
    """(id, file, words) of every noun."""
    for line in (folder / "data.noun").read_text(encoding="ascii").splitlines():
        if not line.startswith(" "):
            offset, file, _, count, *rest = line.split(" ")
            words = [word.replace("_", " ") for word in rest[: 2 * int(count, 16) : 2]]
            yield offset, file, words


def first_senses(folder: Path) -> dict[str, str]:
    """Word -> the id of its most frequent sense."""
    senses = {}
    for line in (folder / "index.noun").read_text(encoding="ascii").splitlines():
        if not line.startswith(" "):
            fields = line.split()
            senses[fields[0].replace("_", " ")] = fields[-int(fields[2])]
    return senses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    files = {offset: file for offset, file, _ in synsets(folder)}
    ids = [f"{offset} {words[0]}" for offset, file, words in synsets(folder) if file in THINGS]
    nature = sorted(word for word, offset in first_senses(folder).items() if files[offset] in NATURE)
    for name, lines in {"wordnet-ids.txt.gz": ids, "wordnet-nature.txt.gz": nature}.items():
        (FOLDER / name).write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))


if __name__ == "__main__":
    main()
