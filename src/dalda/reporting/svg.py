"""A figure as SVG inside a page: its colours are the page's, its text stays text."""

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from dalda.reporting.plots import ARM_STYLES, FAINT, INK, PAPER, SOFT, rendered
from dalda.reporting.text import harmless

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLASSES = {INK: "ink", SOFT: "soft", FAINT: "faint", PAPER: "paper"} | {
    str(style["color"]): f"arm{number}" for number, style in enumerate(ARM_STYLES) if number
}
"""The class by which the page's style sheet gives a colour its light or dark value."""
ATTRIBUTES = {
    "fill",
    "fill-opacity",
    "font-size",
    "font-weight",
    "opacity",
    "stroke",
    "stroke-dasharray",
    "stroke-dashoffset",
    "stroke-linecap",
    "stroke-opacity",
    "stroke-width",
    "text-anchor",
}
"""Style properties that are attributes too; the page's policy allows no `style` attribute."""
SVG, HREF = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"


def inline_svg(figure: "Figure", name: str, description: str) -> str:
    """The figure as an `<svg>` element with a text alternative; `name` makes its ids unique in the page."""
    root = ElementTree.fromstring(rendered(figure, ".svg", transparent=True))
    for element in root.iter():
        _clean(element)
    used = set(re.findall(r'(?:url\(|href=")#([\w.-]+)', ElementTree.tostring(root, encoding="unicode")))
    for element in root.iter():
        for key, value in list(element.attrib.items()):
            if key == "id" and value not in used:
                del element.attrib[key]
            elif key == "id":
                element.set(key, f"{name}-{value}")
            elif key == "href":
                element.set(key, f"#{name}-{value.removeprefix('#')}")
            else:
                element.set(key, value.replace("url(#", f"url(#{name}-"))
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.attrib.update({"class": "chart", "role": "img", "aria-label": harmless(description)})
    return ElementTree.tostring(root, encoding="unicode")


def _clean(element: ElementTree.Element) -> None:
    """Removes what draws nothing, and turns styles into attributes and classes, without namespaces."""
    for child in list(element):
        if child.tag.removeprefix(SVG) in ("metadata", "style"):
            element.remove(child)
    element.tag = element.tag.removeprefix(SVG)
    if HREF in element.attrib:
        element.set("href", element.attrib.pop(HREF))
    classes = []
    for part in element.attrib.pop("style", "").split(";"):
        key, _, value = (piece.strip() for piece in part.partition(":"))
        if value in CLASSES:
            classes.append(f"{key}-{CLASSES[value]}")
        elif key in ATTRIBUTES:
            element.set(key, value)
    if classes:
        element.set("class", " ".join(classes))
    if element.tail is not None and not element.tail.strip():
        element.tail = None
    if element.tag != "text" and element.text is not None and not element.text.strip():
        element.text = None
    if element.tag == "path" and "d" in element.attrib:
        element.set("d", " ".join(element.attrib["d"].split()))
