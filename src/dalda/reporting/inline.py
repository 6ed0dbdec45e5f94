"""A matplotlib figure as SVG that lives inside a page: its colours are the page's, its text stays text."""

import io
import re
import warnings
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = {"#111111": "ink", "#666666": "soft", "#cccccc": "faint", "#0072b2": "accent", "#ffffff": "paper"}
"""What a chart draws in, and the class by which the page's style gives it a colour, light or dark."""
INK, SOFT, FAINT, ACCENT, PAPER = COLOURS

_DROPPED = {"metadata", "style"}
_KEPT = {
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
"""Properties that are attributes too; the page's strict policy allows no `style` attribute."""
_SVG = "http://www.w3.org/2000/svg"
_HREF = "{http://www.w3.org/1999/xlink}href"


def inline_svg(figure: "Figure", name: str, title: str) -> str:
    """The figure as an `<svg>` element with a text alternative; `name` keeps its ids apart from others'."""
    root = ElementTree.fromstring(_rendered(figure))
    _clean(root)
    used = set(re.findall(r'(?:url\(|href=")#([\w.-]+)', ElementTree.tostring(root, encoding="unicode")))
    for element in root.iter():
        for key, value in list(element.attrib.items()):
            if key == "id" and value not in used:
                del element.attrib[key]
            elif key == "id":
                element.set(key, f"{name}-{value}")
            else:
                element.set(key, re.sub(r"(?<=url\(#)|^#(?=[\w.-]+$)", _prefix(key, name), value))
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    plain = "".join(sign if sign.isprintable() else " " for sign in title)
    root.attrib.update({"class": "chart", "role": "img", "aria-label": plain})
    return ElementTree.tostring(root, encoding="unicode")


def _prefix(key: str, name: str) -> str:
    return f"#{name}-" if key == "href" else f"{name}-"


def _clean(root: ElementTree.Element) -> None:
    """Takes out what is no drawing, and turns styles into attributes and classes, without namespaces."""
    for element in root.iter():
        for child in list(element):
            if child.tag.removeprefix(f"{{{_SVG}}}") in _DROPPED:
                element.remove(child)
        element.tag = element.tag.removeprefix(f"{{{_SVG}}}")
        if _HREF in element.attrib:
            element.set("href", element.attrib.pop(_HREF))
        classes = []
        for part in element.attrib.pop("style", "").split(";"):
            key, _, value = (piece.strip() for piece in part.partition(":"))
            if value in COLOURS:
                classes.append(f"{key}-{COLOURS[value]}")
            elif key in _KEPT:
                element.set(key, value)
        if classes:
            element.set("class", " ".join(classes))
        if element.tail is not None and not element.tail.strip():
            element.tail = None
        if element.tag != "text" and element.text is not None and not element.text.strip():
            element.text = None
        if element.tag == "path" and "d" in element.attrib:
            element.set("d", " ".join(element.attrib["d"].split()))


def _rendered(figure: "Figure") -> bytes:
    """The figure's SVG, the same for the same figure: no date, no random ids."""
    import matplotlib

    stable: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "dalda"}
    file = io.BytesIO()
    with matplotlib.rc_context(stable), warnings.catch_warnings():
        # The page's own fonts draw the text: what matplotlib's font lacks is no matter.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return file.getvalue()
