"""The report in a real browser: no request, no error, strange names as text, and no serious barrier."""

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Literal

from tests.browser.conftest import Watched, serious
from tests.reporting.test_answer import result

from dalda.config import ReportConfig
from dalda.evaluation.results import RunFolder
from dalda.review.log import ReviewLog
from dalda.workflows.report import report
from drawn_set import drawn_set

STRANGE = ("<script>alert(1)</script>", "../../etc", '"><img src=x onerror=alert(1)>')
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


def strange_run(folder: Path) -> Path:
    """A run over two numbers of shots whose arms and classes have strange names."""
    arms = {"real": 0.5, STRANGE[0]: 0.8, STRANGE[1]: 0.5, STRANGE[2]: 0.3}
    results = [
        replace(result(arm, seed, arms[arm], shots=shots), classes=STRANGE[:2])
        for arm, seed, shots in product(arms, range(3), (1, 4))
    ]
    RunFolder(folder, "dalda run").save(results, {})
    return folder


def test_the_report_stands_alone_and_strange_names_do_no_harm(tab: Watched, tmp_path: Path) -> None:
    out = drawn_set(tmp_path, STRANGE, sources=2, copies=3)
    ReviewLog(out).append("gone", "reject", "page")
    run = strange_run(tmp_path / "run")
    made = report(ReportConfig(places=(run, out), out=tmp_path / "report.html"))
    page = tab.page
    page.goto(made.path.as_uri())
    page.wait_for_load_state("networkidle")
    for name in STRANGE:
        assert page.get_by_text(name).count() > 0
        assert page.get_by_role("rowheader", name=name, exact=True).count() > 0
    # Accuracy over shots; per arm at two numbers of shots; gains of three arms; lambda and score.
    assert page.locator("svg.chart").count() == 1 + 2 + 3 + 1
    assert tab.faults == []
    assert [address for address in tab.requests if not address.startswith("data:")] == [made.path.as_uri()]
    for width in (400, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            assert serious(page) == []
