"""The report in a real browser: no request, no error, strange names as text, and no serious barrier."""

from pathlib import Path
from typing import Literal

from tests.browser.conftest import Watched, serious

from dalda.config import ReportConfig
from dalda.pipeline.report.page import report
from dalda.synthesis.decisions import append
from drawn_set import drawn_set

STRANGE = ("<script>alert(1)</script>", "../../etc", '"><img src=x onerror=alert(1)>')
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


def test_the_report_stands_alone_and_strange_names_do_no_harm(tab: Watched, tmp_path: Path) -> None:
    out = drawn_set(tmp_path, STRANGE, sources=2, copies=3)
    append(out, "gone", "reject", "page")
    made = report(ReportConfig(places=(out,), out=tmp_path / "report.html"))
    page = tab.page
    page.goto(made.path.as_uri())
    page.wait_for_load_state("networkidle")
    for name in STRANGE:
        assert page.get_by_text(name).count() > 0
    assert tab.faults == []
    assert [address for address in tab.requests if not address.startswith("data:")] == [made.path.as_uri()]
    for width in (400, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            assert serious(page) == []
