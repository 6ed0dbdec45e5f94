"""The report's images: of one synthetic set, what was made from what, at which lambda."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from dalda.methods.scale_policy import THRESHOLD, adaptive_spread
from dalda.reporting.charts import Band, weight_chart
from dalda.reporting.report import Budget, ClassRows, Row, SetPart, Shown
from dalda.types import SyntheticImage
from dalda.workflows.report.facts import caption_facts, excluded, set_facts
from dalda.workflows.report.sources import Material, Source

SOURCES = 4
"""Real images that are shown of a class."""
COPIES = 10
"""Copies that are shown of a real image."""
MOST_PICTURES = 1500
"""In one set: what a person can look through, and a browser too."""
MOST_DOTS = 1500


def class_rows(material: Material, budget: Budget) -> tuple[tuple[ClassRows, ...], str]:
    """The images that are shown, class by class, and a sentence on which these are.

    One real image of every class before the second of any, so that no class is crowded out.
    """
    classes = material.by_class()
    copies = max(3, min(COPIES, MOST_PICTURES // max(len(classes), 1)))
    shown: dict[str, list[Row]] = defaultdict(list)
    count = 0
    for label, source in _in_turn(classes):
        if count >= MOST_PICTURES:
            break
        row = _row(material, source, classes[label][source], copies, budget)
        if row is None:
            break
        shown[label].append(row)
        count += len(row.copies)
    parts = tuple(
        ClassRows(label, len(sources), sum(map(len, sources.values())), tuple(shown[label]))
        for label, sources in classes.items()
    )
    total = len(material.samples)
    if count == total:
        return parts, ""
    bare = sum(not part.rows for part in parts if part.synthetic)
    said = (
        f"The page shows {count} of the {total} images: of each class up to {SOURCES} real ones, "
        f"of each of these up to {copies} copies, spread over λ."
    )
    return parts, said + (f" {bare} of {len(parts)} classes found no room." if bare else "")


def _in_turn(classes: Mapping[str, Mapping[Source, object]]) -> Iterator[tuple[str, Source]]:
    """The first real image of every class, then the second of every class, and so on."""
    for place in range(SOURCES):
        for label, sources in classes.items():
            if place < len(sources):
                yield label, list(sources)[place]


def _row(
    material: Material, source: Source, copies: Sequence[SyntheticImage], most: int, budget: Budget
) -> Row | None:
    chosen = _spread(copies, most)
    example = material.images.get(source)
    taken = budget.take([*([example.path] if example else []), *(one.path for one in chosen)])
    if taken is None:
        return None
    real = None
    if example:
        score = copies[0].source_clip_probability
        notes = (f"CLIP class probability {score:.2f}",) if score is not None else ()
        real = Shown(taken.pop(0), f"real image of {example.label}", notes=notes)
    made = (
        Shown(thumb, one.prompt, one.ip_adapter_scale) for thumb, one in zip(taken, chosen, strict=True)
    )
    return Row(real, tuple(made), len(copies) - len(chosen))


def _spread(samples: Sequence[SyntheticImage], most: int) -> list[SyntheticImage]:
    """At most so many, evenly over the order, both ends included."""
    if len(samples) <= most:
        return list(samples)
    step = (len(samples) - 1) / max(most - 1, 1)
    return [samples[round(place * step)] for place in range(most)]


def weights(name: str, material: Material) -> tuple[str, str]:
    """Lambda against score as SVG, and the words under it; empty where the set has no scores."""
    scored = [one for one in material.samples if one.source_clip_probability is not None]
    if not scored:
        return "", ""
    dots = _spread(scored, MOST_DOTS)
    points = [(one.source_clip_probability or 0.0, one.ip_adapter_scale) for one in dots]
    adaptive = material.settings.get("ip_adapter_scale") == "adaptive"
    shots = {len(sources) for sources in material.by_class().values() if sources}
    bands = [] if not adaptive or len(shots) > 1 else _bands(*shots)
    said = f"Each dot is one of {len(dots)}{'' if dots == scored else f' of {len(scored)}'} images. "
    if not adaptive:
        how = (
            "at random"
            if material.settings.get("ip_adapter_scale") == "uniform"
            else "as one number for all"
        )
        return weight_chart(name, points, []), said + f"λ was chosen {how}, whatever the score."
    low = sum(
        one.source_clip_probability is not None and one.source_clip_probability <= THRESHOLD
        for one in scored
    )
    said += (
        "Adaptive guidance trusts the real image (high λ) where CLIP gives its class at most "
        f"{THRESHOLD:g}, as the sources of {low} images, and the caption (low λ) elsewhere."
    )
    if bands:
        said += " Grey: the bounds it draws within; dashed: the middle it draws around."
    return weight_chart(name, points, bands), said


def _bands(shots: int) -> list[Band]:
    bands = []
    for scores in ((0.0, THRESHOLD), (THRESHOLD + 1e-6, 1.0)):
        spreads = [adaptive_spread(score, shots) for score in scores]
        bands.append(
            Band(
                scores,
                [s.low for s in spreads],
                [s.mean for s in spreads],
                [min(s.high, 1) for s in spreads],
            )
        )
    return bands


def part_of(name: str, material: Material, budget: Budget, chart: str) -> SetPart:
    """All that can be shown of a set without a model that looks at it."""
    rows, sampled = class_rows(material, budget)
    drawn, said = weights(chart, material)
    return SetPart(
        name=name,
        facts=set_facts(material),
        classes=rows,
        sampled=sampled,
        weights=drawn,
        weights_say=said,
        typical=(),
        doubtful=(),
        doubtful_say="",
        near=(),
        near_say="",
        dropped=excluded(material),
        captions=caption_facts(material),
    )
