"""Draws docs/images/data-flow.svg: what goes through which package (`make architecture`)."""

from pathlib import Path
from xml.sax.saxutils import escape

OUT = Path(__file__).parent.parent / "docs/images/data-flow.svg"
WIDTH, HEIGHT, BOX, ROW, LEFT = 1000, 680, 200, 68, 40
STAGES = [
    ("data set", "datasets", "RealImage"),
    ("few-shot split", "datasets", "FewShotSplit"),
    ("captions", "captions", "class -> list of captions"),
    ("method", "methods", "GenerationRequest: all randomness is spent"),
    ("generation", "generation", "SyntheticImage: an image folder with metadata"),
    ("mixing, filters", "evaluation", "Trial: real and synthetic images"),
    ("classifier", "evaluation", "TrialResult: one per arm, shots and seed"),
    ("comparison", "evaluation", "Interval: the gain and a verdict"),
    ("figures, report, export", "reporting", "files to share"),
]
"""The stages in the order of the data: what it is, its package, and what comes out."""
SEAMS = {
    "data set": "a folder, a published set, hf:NAME",
    "captions": "LanguageModel (dalda.language_models)",
    "method": "Method (dalda.methods)",
    "generation": "ImageGenerator (dalda.generators), Executor",
    "classifier": "FeatureExtractor, ZeroShot (dalda.backbones)",
    "figures, report, export": "export forms",
}
"""Where another part can be plugged in: the protocol, and the entry point group."""


def text(x: int, y: int, words: str, style: str) -> str:
    return f'<text x="{x}" y="{y}" class="{style}">{escape(words)}</text>'


def drawing() -> str:
    """The whole drawing; dark and light pages each get their own colours."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'aria-label="The stages of dalda from data set to report, with the seams of each">',
        "<style>text{font:14px sans-serif;fill:#222}.name{font-weight:bold}.small{font-size:12px;fill:#666}"
        "rect{fill:#eef3fa;stroke:#5a7ca8}path{stroke:#5a7ca8;fill:none;marker-end:url(#tip)}"
        ".seam{fill:#8a4b08;font-size:12px}@media(prefers-color-scheme:dark){text{fill:#ddd}"
        ".small{fill:#aaa}rect{fill:#22303f}.seam{fill:#e0a060}}</style>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0 0L8 4L0 8z" style="fill:#5a7ca8;stroke:none"/></marker></defs>',
    ]
    middle = LEFT + BOX // 2
    for number, (name, package, result) in enumerate(STAGES):
        top = 24 + number * ROW
        parts.append(f'<rect x="{LEFT}" y="{top}" width="{BOX}" height="44" rx="6"/>')
        parts.append(text(LEFT + 12, top + 19, name, "name"))
        parts.append(text(LEFT + 12, top + 36, f"{package}/", "small"))
        parts.append(text(LEFT + BOX + 24, top + 27, result, "result"))
        if name in SEAMS:
            parts.append(text(LEFT + BOX + 400, top + 27, SEAMS[name], "seam"))
        if number < len(STAGES) - 1:
            parts.append(f'<path d="M{middle} {top + 44}L{middle} {top + ROW}"/>')
    parts.append(text(LEFT, HEIGHT - 20, "workflows/ join the stages; cli/ parses and prints.", "small"))
    return "\n".join([*parts, "</svg>"]) + "\n"


if __name__ == "__main__":
    OUT.write_text(drawing(), encoding="utf-8")
