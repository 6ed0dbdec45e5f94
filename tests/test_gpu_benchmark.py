"""The GPU script runs without one, at toy sizes, and prints every case once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_gpu_script_runs_at_toy_sizes(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks/gpu.py", "--toy", "--device", "cpu", "--json"],
        capture_output=True,
        text=True,
        env={**os.environ, "DALDA_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    cases = {(case["name"], case["batch"]): case for case in answer["cases"]}
    assert len(cases) == len(answer["cases"])
    assert {name for name, _ in cases} == {
        "original",
        "sd15",
        "sd15 interval",
        "sd15 lcm-like",
        "sd15 contiguous",
        "sd15 cudnn benchmark",
        "sd15 compiled blocks",
        "sd15 compiled whole",
        "sd15 compiled whole, CUDA graphs",
        "sd15 attention flash",
        "sd15 attention efficient",
        "sd15 attention cudnn",
        "sdxl",
        "flux reduced",
    }
    assert all(case["images_per_second"] > 0 for case in cases.values())
    original = cases["original", 1]["images_per_second"]
    ours = cases["sd15", 2]
    assert ours["ratio"] == pytest.approx(ours["images_per_second"] / original, abs=0.01)
    assert set(answer["seconds_by_part"]) >= {"text", "image encoder", "unet", "idle", "encoding of files"}
    assert answer["skipped"] == []
    assert answer["peak_teraflops"] is None
