"""A report over many doodle samples: wall time, size of the page and peak memory, as one JSON object.

The samples are drawn, not rendered, and written by the real store; only the report is timed, in a
process of its own, imports included.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

SHOTS = 16


def measure(samples: int, size: int | None) -> dict[str, float | int]:
    """Seconds, megabytes of the page and of memory, for a new process that writes the report."""
    from tests.workflows.drawn_set import drawn_set

    from dalda.doodles.vocabulary import CLASSES

    copies = -(-samples // (len(CLASSES) * SHOTS))
    surplus = copies * len(CLASSES) * SHOTS - samples
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        out = drawn_set(root, labels=CLASSES, sources=SHOTS, copies=copies, drop=surplus, size=size)
        words = ["report", str(out), "-o", str(root / "report.html"), "--json"]
        command = [sys.executable, "-c", "from dalda.cli import main; main()", *words]
        # An empty cache: no feature is there from an earlier run.
        environment = {**os.environ, "DALDA_CACHE": str(root / "cache")}
        started = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        seconds = time.perf_counter() - started
        printed = json.loads(done.stdout)
        bytes_written = (root / "report.html").stat().st_size
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "samples": printed["images"],
        "shown": printed["shown"],
        "seconds": round(seconds, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "page_megabytes": round(bytes_written / 1e6, 2),
        "peak_gigabytes": round(used.ru_maxrss * 1024 / 1e9, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--json", action="store_true", help="accepted for likeness; the output is always JSON"
    )
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--size", type=int, help="enlarge the images to so many pixels, with noise")
    options = parser.parse_args()
    print(json.dumps(measure(options.samples, options.size)))


if __name__ == "__main__":
    main()
