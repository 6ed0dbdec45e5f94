"""The examples do what they say: the notebook runs top to bottom."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "examples"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
CELL = "\n# the next cell\n"


def cells_of(notebook: Path) -> list[dict[str, object]]:
    read = json.loads(notebook.read_text(encoding="utf-8"))
    assert (read["nbformat"], read["nbformat_minor"]) == (4, 5)
    found: list[dict[str, object]] = read["cells"]
    return found


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda one: one.name)
def test_a_notebook_is_clean(notebook: Path) -> None:
    cells = cells_of(notebook)
    assert len({cell["id"] for cell in cells}) == len(cells)
    assert not [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")]


@pytest.mark.slow
@pytest.mark.usefixtures("doodle_cache")
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda one: one.name)
def test_a_notebook_runs_top_to_bottom(notebook: Path, tmp_path: Path) -> None:
    """As one script in a process of its own: the cells use nothing of a notebook but their order."""
    code = ["".join(map(str, cell["source"])) for cell in cells_of(notebook) if cell["cell_type"] == "code"]  # type: ignore[call-overload]
    done = subprocess.run(
        [sys.executable, "-c", CELL.join(code)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "24 images generated" in done.stdout
    assert "report: quickstart/report.html" in done.stdout
    assert "24 synthetic and 12 real images" in done.stdout
