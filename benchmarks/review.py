"""The review page over many images in a real Chromium: first screen, scrolling, decisions, as JSON.

    python benchmarks/review.py --json

The set is drawn, not rendered, for it is the page that is measured. Times in the browser count from the
start of the navigation. The thumbnails' cache is empty at first and full at the second opening.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

from playwright.sync_api import Browser, Page

from browsing import chromium, serve
from dalda.doodles.vocabulary import CLASSES
from dalda.review.log import ReviewLog
from drawn_set import drawn_set

COPIES = 10
DECISIONS = 50
FIRST_SCREEN = """() => {
  const list = document.getElementById("list").getBoundingClientRect();
  const seen = [...document.querySelectorAll("#list img, #detail img")].filter((image) => {
    const place = image.getBoundingClientRect();
    return place.bottom > 0 && place.top < innerHeight;
  });
  return list.height > 0 && seen.length > 2 && seen.every((image) => image.complete && image.naturalWidth)
    && {milliseconds: performance.now(), images: seen.length};
}"""
SCROLL = """async (screens) => {
  const list = document.getElementById("list");
  const gaps = [];
  let before = await new Promise(requestAnimationFrame);
  for (let step = 0; step < screens * 10; step++) {
    list.scrollTop += list.clientHeight / 10;
    const now = await new Promise(requestAnimationFrame);
    gaps.push(now - before);
    before = now;
  }
  gaps.sort((one, other) => one - other);
  const at = (share) => gaps[Math.floor(share * (gaps.length - 1))];
  return {frames: gaps.length, median: at(0.5), p95: at(0.95), most: at(1),
          cells: document.querySelectorAll(".cell").length};
}"""


def opened(browser: Browser, address: str) -> tuple[Page, dict[str, float]]:
    """A page whose first screen is whole, and how long that took."""
    page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
    page.goto(address, wait_until="commit")
    found: dict[str, float] = page.wait_for_function(FIRST_SCREEN, timeout=300_000).json_value()
    return page, found


def measure(folder: Path, samples: int, size: int) -> dict[str, Any]:
    classes = CLASSES[:10]
    out = folder / "out"
    if not (out / "dalda.yaml").exists():
        drawn_set(folder, classes, sources=samples // len(classes) // COPIES, copies=COPIES, size=size)
    (out / "review.jsonl").unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as cached, chromium() as browser:
        cache = Path(cached)
        served = serve(out, cache)
        page, cold = opened(browser, served.address)
        scrolled = page.evaluate(SCROLL, 40)
        page.locator("#list").focus()
        started = time.perf_counter()
        for _ in range(DECISIONS):
            page.keyboard.press("r")
        while len(ReviewLog(out).decisions()) < DECISIONS:
            page.wait_for_timeout(5)
        decided = (time.perf_counter() - started) / DECISIONS
        served.kill()
        page.context.close()
        again = serve(out, cache)
        _, warm = opened(browser, again.address)
        again.kill()
    return {
        "samples": samples,
        "pixels": size,
        "cores": len(os.sched_getaffinity(0)),
        "server_ready_seconds": round(served.seconds, 2),
        "first_screen_seconds": round(cold["milliseconds"] / 1000, 2),
        "first_screen_images": cold["images"],
        "first_screen_again_seconds": round(warm["milliseconds"] / 1000, 2),
        "scroll_frames": scrolled["frames"],
        "scroll_frame_median_ms": round(scrolled["median"], 1),
        "scroll_frame_p95_ms": round(scrolled["p95"], 1),
        "scroll_frame_most_ms": round(scrolled["most"], 1),
        "cells_in_page": scrolled["cells"],
        "decision_on_disk_ms": round(1000 * decided, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--json", action="store_true", help="accepted for likeness; the output is always JSON"
    )
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=32, help="pixels of a image's side")
    parser.add_argument("--folder", type=Path, help="where the set is made, or lies already")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(options.folder or Path(folder), options.samples, options.size)))


if __name__ == "__main__":
    main()
