"""A headless Chromium, and `dalda review` as a process: for tests, benchmarks and screenshots."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
MISSING = "there is no chromium here; make browser installs it"


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's own Chromium. Raises RuntimeError where there is none."""
    if CHROMIUM is None:
        raise RuntimeError(MISSING)
    # Chromium's own sandbox does not work for root, nor does shared memory in small containers. Names that
    # nobody can own lead here, as an attacker's would (DNS rebinding).
    words = ["--disable-dev-shm-usage", "--host-resolver-rules=MAP *.example 127.0.0.1"]
    words += ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=words)
        yield launched
        launched.close()


@dataclass
class Served:
    """A running `dalda review`."""

    process: subprocess.Popen[str]
    address: str
    seconds: float
    """From the start of the process until pages were answered."""

    @property
    def port(self) -> int:
        return int(self.address.rstrip("/").rpartition(":")[2])

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.communicate()


def serve(out: Path, cache: Path, port: int = 0) -> Served:
    """Starts `dalda review OUT` on a free port; the caller ends it."""
    code = "from dalda.cli import main; main()"
    words = ["review", str(out), "--no-browser", "--port", str(port)]
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words],
        env={**os.environ, "DALDA_CACHE": str(cache)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    line = process.stderr.readline()
    found = re.search(r"http://\S+/", line)
    if found is None:
        process.kill()
        raise RuntimeError(f"dalda review did not start: {line}{process.communicate()[1]}")
    return Served(process, found[0], time.perf_counter() - started)
