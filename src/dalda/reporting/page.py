"""The HTML report: one page that stands alone.

The words and the look are in `templates`; every value is escaped there, and the page's own policy lets it
load and run nothing.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dalda.reporting.answer import ArmTable, ClassTable
from dalda.reporting.image_set import SetSection
from dalda.reporting.text import harmless
from dalda.storage import read_text

if TYPE_CHECKING:
    from jinja2 import Template

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Page:
    """The whole page in its order: the answer comes first."""

    title: str
    headline: str
    sentences: Sequence[str]
    warnings: Sequence[str] = ()
    """What would mislead a reader of the answer."""
    arms: Sequence[ArmTable] = ()
    shots_charts: Sequence[tuple[str, str]] = ()
    """Title, empty where there is one only, and SVG."""
    facts: Mapping[str, str] = field(default_factory=dict)
    classes: Sequence[ClassTable] = ()
    sets: Sequence[SetSection] = ()
    other_sets: str = ""
    """Which further sets there are that the page does not show."""


def report_page(page: Page) -> str:
    """The page as HTML."""
    style = read_text(TEMPLATES / "report.css")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return _template().render(page=page, style=style, style_sha256=digest)


@cache
def _template() -> "Template":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_harmless,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html")


def _harmless(value: Any) -> Any:
    """Strangers' text without what steers a display; our own SVG and style as they are."""
    return harmless(value) if type(value) is str else value
