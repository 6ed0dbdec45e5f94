"""Captions of 1,000 classes from a server with latency, wall time against the ideal, as one JSON object.

The server is the tests' fake, a real HTTP server on loopback; the client is the real SDK.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.captions.chat_server import running_server

from dalda.captions.generate import generate_captions


def measure(classes: int, per_class: int, concurrency: int, latency: float) -> dict[str, float | int]:
    """Seconds for the whole request, from the first look into the store to the written file."""
    names = [f"sort {index} of thing" for index in range(classes)]
    with running_server() as server, tempfile.TemporaryDirectory() as folder:
        settings: dict[str, Any] = {
            "llm": "openai:fake",
            "base_url": server.url,
            "concurrency": concurrency,
        }
        # The first question pays for the imports and the connection, which are no part of the request.
        generate_captions(["warm up"], Path(folder) / "first.json", per_class=1, **settings)
        server.configure(reset=True, latency=latency)
        started, computed = time.perf_counter(), time.process_time()
        report = generate_captions(names, Path(folder) / "captions.json", per_class=per_class, **settings)
        seconds, computed = time.perf_counter() - started, time.process_time() - computed
        requests = len(server.asked())
    ideal = latency * requests / concurrency
    return {
        "classes": classes,
        "captions": report.summary.captions,
        "missing": len(report.missing),
        "requests": requests,
        "concurrency": concurrency,
        "latency_seconds": latency,
        "client_cpu_seconds": round(computed, 3),
        "seconds": round(seconds, 3),
        "ideal_seconds": round(ideal, 3),
        "ratio": round(seconds / ideal, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--json", action="store_true", help="accepted for likeness; the output is always JSON"
    )
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--per-class", type=int, default=10)
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--latency", type=float, default=0.2)
    options = parser.parse_args()
    result = measure(options.classes, options.per_class, options.concurrency, options.latency)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
