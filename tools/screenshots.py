"""The documents' pictures of the report and of the review page, from a new doodle run.

    python tools/screenshots.py [--to docs/images]

Paints a set, trains with it and opens both pages in a headless Chromium: light, dark, and at the width of
a telephone. Some minutes on two cores.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page

from browsing import chromium, serve

VIEWS: dict[str, tuple[int, int, Literal["light", "dark"]]] = {
    "light": (1280, 900, "light"),
    "dark": (1280, 900, "dark"),
    "narrow": (400, 800, "light"),
}
"""Width, height, colours."""


def dalda(*words: str) -> None:
    """Runs a command as a user would."""
    code = "from dalda.cli import main; main()"
    subprocess.run([sys.executable, "-c", code, *words], check=True, stdout=subprocess.DEVNULL)


def taken(browser: Browser, address: str, name: str, folder: Path, prepare: Callable[[Page], None]) -> None:
    """One picture per view."""
    for view, (width, height, colours) in VIEWS.items():
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=colours)
        page = context.new_page()
        page.goto(address)
        prepare(page)
        page.screenshot(path=folder / f"{name}-{view}.png", animations="disabled")
        context.close()


def reviewed(page: Page) -> None:
    """Waits for the samples' own scores, as a person would, and looks at the list in full."""
    page.wait_for_selector("#own-range", state="attached")
    page.wait_for_function("() => !document.getElementById('own-range').hidden", timeout=300_000)
    page.wait_for_load_state("networkidle")


def decided(browser: Browser, address: str) -> None:
    """Some decisions, for the pictures to show."""
    page = browser.new_page()
    page.goto(address)
    reviewed(page)
    for key in "rrkrkkrk":
        page.keyboard.press(key)
    page.wait_for_function(
        "() => document.getElementById('counter').textContent.startsWith('4 kept, 4 rej')"
    )
    page.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    images = Path(__file__).parents[1] / "docs/images"
    parser.add_argument("--to", type=Path, default=images, help="where the pictures go")
    options = parser.parse_args()
    options.to.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        made, run, report = (Path(folder) / name for name in ("doodles", "run", "report.html"))
        dalda("augment", "doodles", "--shots", "2", "--per-image", "6", "-o", str(made))
        dalda("train", "doodles", "--shots", "2", "--seeds", "3", "--synthetic", str(made), "-o", str(run))
        dalda("report", str(run), str(made), "-o", str(report))
        taken(browser, report.as_uri(), "report", options.to, lambda page: None)
        served = serve(made, Path(folder) / "cache")
        decided(browser, served.address)
        taken(browser, served.address, "review", options.to, reviewed)
        served.kill()


if __name__ == "__main__":
    main()
