"""The documents' images of the report and of the review page, from a new doodle run.

    python tools/screenshots.py [--to docs/images] [--demo FOLDER]

Generates a set, trains with it and opens both pages in a headless Chromium: light, dark, and at the width
of a telephone; and the report's images further down. Some minutes on two cores; less with the results of
`dalda demo`, which are read and not changed.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, FloatRect, Page

from browsing import chromium, serve
from dalda.review.log import ReviewLog

VIEWS: dict[str, tuple[int, int, Literal["light", "dark"]]] = {
    "light": (1280, 900, "light"),
    "dark": (1280, 900, "dark"),
    "narrow": (400, 800, "light"),
}
"""Width, height, colours."""

KEYS = "rrkrkkrk"


def dalda(*words: str) -> None:
    """Runs a command as a user would."""
    code = "from dalda.cli import main; main()"
    subprocess.run([sys.executable, "-c", code, *words], check=True, stdout=subprocess.DEVNULL)


def taken(browser: Browser, address: str, name: str, folder: Path, prepare: Callable[[Page], None]) -> None:
    """One image per view."""
    for view, (width, height, colours) in VIEWS.items():
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=colours)
        page = context.new_page()
        page.goto(address)
        prepare(page)
        page.screenshot(path=folder / f"{name}-{view}.png", animations="disabled")
        context.close()


def capture_sections(browser: Browser, address: str, folder: Path) -> None:
    """The report further down: a few classes' images; scales, doubtful images, near-duplicates."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(address)
    height = int(page.evaluate("document.documentElement.scrollHeight"))
    page.set_viewport_size({"width": 1280, "height": height})  # images are drawn once they are visible
    headings = page.locator("#images h3")
    starts = headings.evaluate_all("all => all.map((one) => one.getBoundingClientRect().top)")
    places = {name: number for number, name in reversed([*enumerate(headings.all_inner_texts())])}
    ranges = {
        "images": (0, 3),
        "doubts": (places["IP-Adapter scale and CLIP class probability"], places["Excluded images"]),
    }
    for name, (first, last) in ranges.items():
        top, bottom = starts[first], starts[last]
        clip: FloatRect = {"x": 0.0, "y": top - 20.0, "width": 1280.0, "height": float(bottom - top)}
        page.screenshot(path=folder / f"report-{name}.png", clip=clip, animations="disabled")
    page.close()


def reviewed(page: Page) -> None:
    """Waits for the CLIP class probabilities, as a person would, and for every image."""
    page.wait_for_selector("#synthetic-range", state="attached")
    page.wait_for_function("() => !document.getElementById('synthetic-range').hidden", timeout=300_000)
    page.wait_for_function("() => [...document.images].every((one) => one.complete && one.naturalWidth)")


def decided(browser: Browser, address: str, out: Path) -> None:
    """Some decisions, on the disk, for the images to show."""
    page = browser.new_page()
    page.goto(address)
    reviewed(page)
    for key in KEYS:
        page.keyboard.press(key)
    while len(ReviewLog(out).decisions()) < len(KEYS):
        page.wait_for_timeout(50)
    page.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    images = Path(__file__).parents[1] / "docs/images"
    parser.add_argument("--to", type=Path, default=images, help="where the images go")
    parser.add_argument("--demo", type=Path, help="results of dalda demo, in place of a new run")
    options = parser.parse_args()
    options.to.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        made, run, report = (Path(folder) / name for name in ("more", "run", "report.html"))
        if options.demo:
            shutil.copytree(options.demo / "dalda-seed0", made)
            dalda("report", str(options.demo), "-o", str(report))
        else:
            words = ("doodles", "--shots", "2")
            dalda("augment", *words, "--per-image", "6", "-o", str(made))
            dalda("train", *words, "--seeds", "3", "--synthetic", str(made), "-o", str(run))
            dalda("report", str(run), str(made), "-o", str(report))
        taken(browser, report.as_uri(), "report", options.to, lambda page: None)
        capture_sections(browser, report.as_uri(), options.to)
        served = serve(made, Path(folder) / "cache")
        decided(browser, served.address, made)
        taken(browser, served.address, "review", options.to, reviewed)
        served.kill()


if __name__ == "__main__":
    main()
