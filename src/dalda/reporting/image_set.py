"""The report's section on one synthetic set: its images, its scales, and their CLIP class probabilities."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dalda.evaluation.generative_metrics import NEAR_DUPLICATE, ImageMeasures
from dalda.methods.scale_policy import SHUFFLED, THRESHOLD, adaptive_distribution
from dalda.reporting.plots import MOST_DOTS, ScaleBounds, scales_figure
from dalda.reporting.svg import inline_svg
from dalda.reporting.text import share_of
from dalda.reporting.thumbnails import Thumbnail, ThumbnailBudget, chosen_evenly
from dalda.types import RealImage, SyntheticImage

MOST_SOURCES = 4
"""Source images that are shown of a class."""
MOST_OF_A_SOURCE = 10
"""Synthetic images that are shown of a source image."""
MOST_IMAGES = 1500
"""Of one set: what a person can look through, and a browser too."""
MOST_LISTED = 12
"""Doubtful images, and as many typical ones and near-duplicates."""
TYPICAL_PER_CLASS = 2
"""Else one easy class would take all places."""
Source = tuple[str, str]
"""A source image: its class and the hash of its bytes."""


@dataclass(frozen=True)
class ReportedSet:
    """One synthetic set as it is on disk, without what was rejected in review."""

    images: Sequence[SyntheticImage]
    rejected: int
    settings: Mapping[str, Any]
    labels: Sequence[str]
    """The classes in the set's order, also those whose images were all dropped or rejected."""
    dropped: Sequence[Mapping[str, Any]]
    real: Mapping[Source, RealImage]
    """The source images whose files are where they were, unchanged."""

    def by_class(self) -> dict[str, dict[Source, list[SyntheticImage]]]:
        """Class to source image to its synthetic images, by rising scale; a class may have none."""
        classes: dict[str, dict[Source, list[SyntheticImage]]] = {label: {} for label in self.labels}
        for image in sorted(self.images, key=lambda image: (image.ip_adapter_scale, image.index)):
            classes[image.label].setdefault((image.label, image.source_sha256), []).append(image)
        return classes

    def excluded(self) -> dict[str, int]:
        """Images that are not in the set, by reason, the most frequent first."""
        reasons = Counter(str(line.get("reason", "no reason given")) for line in self.dropped)
        if self.rejected:
            reasons["rejected in dalda review"] += self.rejected
        return dict(reasons.most_common())


@dataclass(frozen=True)
class ShownImage:
    """One image on the page; the caption is its text alternative."""

    image: Thumbnail
    caption: str
    ip_adapter_scale: float | None = None
    """None for a real image."""
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class ImageRow:
    """A source image (None where its file is missing) and images generated from it, by rising scale."""

    source: ShownImage | None
    synthetic: Sequence[ShownImage]
    not_shown: int


@dataclass(frozen=True)
class ClassRows:
    """The images of a class: how many there are, and those that are shown."""

    label: str
    real: int
    synthetic: int
    rows: Sequence[ImageRow]


@dataclass(frozen=True)
class ClipSection:
    """The CLIP class probabilities of a set's images."""

    off_class: str
    """A sentence on the off-class images."""
    doubtful: Sequence[ShownImage]
    typical: Sequence[ShownImage]
    near_duplicates: str
    """A sentence on them."""
    pairs: Sequence[tuple[ShownImage, ShownImage]]
    """A source image and its near-duplicate."""


@dataclass(frozen=True)
class SetSection:
    """All that the page shows of one synthetic set."""

    name: str
    facts: Mapping[str, str]
    classes: Sequence[ClassRows]
    sampled: str
    """Which of the images are shown, where it is not all of them."""
    scales: tuple[str, str]
    """IP-Adapter scale over CLIP class probability as SVG, and the text below; empty without these."""
    clip: ClipSection | str
    """Or why CLIP could not measure the images."""
    excluded: Mapping[str, int]
    captions: Mapping[str, str]


def class_rows(dataset: ReportedSet, budget: ThumbnailBudget) -> tuple[list[ClassRows], str]:
    """The images that are shown, class by class, and a sentence on which these are.

    One source image of every class comes before the second of any, so that every class is shown.
    """
    classes = dataset.by_class()
    most = max(3, min(MOST_OF_A_SOURCE, MOST_IMAGES // max(len(classes), 1)))
    rows: dict[str, list[ImageRow]] = defaultdict(list)
    count = 0
    for label, source in _in_turn(classes):
        row = _row(dataset.real.get(source), classes[label][source], most, budget)
        if row is None or count >= MOST_IMAGES:
            break
        rows[label].append(row)
        count += len(row.synthetic)
    shown = [
        ClassRows(label, len(sources), sum(map(len, sources.values())), rows[label])
        for label, sources in classes.items()
    ]
    if count == len(dataset.images):
        return shown, ""
    empty = sum(not part.rows for part in shown if part.synthetic)
    return shown, (
        f"The page shows {count} of the {len(dataset.images)} images: of each class up to {MOST_SOURCES} "
        f"source images, of each of these up to {most} synthetic images, spread over the scale."
        + (f" {empty} of {len(shown)} classes are not shown." if empty else "")
    )


def _in_turn(classes: Mapping[str, Mapping[Source, object]]) -> Iterator[tuple[str, Source]]:
    """The first source image of every class, then the second of every class, and so on."""
    for number in range(MOST_SOURCES):
        for label, sources in classes.items():
            if number < len(sources):
                yield label, list(sources)[number]


def _row(
    real: RealImage | None, images: Sequence[SyntheticImage], most: int, budget: ThumbnailBudget
) -> ImageRow | None:
    """The row of a source image with at most so many synthetic ones, spread evenly over the scale."""
    step = max((len(images) - 1) / max(most - 1, 1), 1)
    chosen = [images[round(number * step)] for number in range(min(most, len(images)))]
    thumbnails = budget.take([*([real.path] if real else []), *(image.path for image in chosen)])
    if thumbnails is None:
        return None
    source = None
    if real:
        probability = images[0].source_clip_probability
        notes = [] if probability is None else [f"CLIP class probability {probability:.2f}"]
        source = ShownImage(thumbnails.pop(0), f"real image of {real.label}", notes=notes)
    synthetic = [
        ShownImage(thumbnail, image.prompt, image.ip_adapter_scale)
        for thumbnail, image in zip(thumbnails, chosen, strict=True)
    ]
    return ImageRow(source, synthetic, len(images) - len(chosen))


def scales_section(dataset: ReportedSet, chart: str) -> tuple[str, str]:
    """The chart of scale over CLIP class probability, and the text below; empty without probabilities."""
    points = [
        (image.source_clip_probability, image.ip_adapter_scale)
        for image in dataset.images
        if image.source_clip_probability is not None
    ]
    if not points:
        return "", ""
    policy = dataset.settings.get("ip_adapter_scale")
    dots = chosen_evenly(points, MOST_DOTS)
    shots = {len(sources) for sources in dataset.by_class().values() if sources}
    chosen = f", evenly chosen of {len(points)}" if len(dots) < len(points) else ""
    text = f"Each dot is one of {len(dots)} images{chosen}. "
    if policy != "adaptive":
        how = {"uniform": "drawn uniformly", SHUFFLED: "drawn for another image"}.get(
            str(policy), "the same for all"
        )
        bounds = []
        text += f"The scale was {how}, whatever the CLIP class probability."
    else:
        low = sum(probability <= THRESHOLD for probability, _ in points)
        bounds = _adaptive_bounds(*shots) if len(shots) == 1 else []
        text += (
            "The adaptive scale follows the source image (high scale) where CLIP gives its class at most "
            f"{THRESHOLD:g}, as for {low} images, and the caption (low scale) elsewhere."
        )
        if bounds:
            text += " Grey: the bounds it is drawn within; dashed: the mean it is drawn around."
    description = f"IP-Adapter scale over CLIP class probability, {len(dots)} images; see the text below"
    return inline_svg(scales_figure(dots, bounds), chart, description), text


def _adaptive_bounds(shots: int) -> list[ScaleBounds]:
    bounds = []
    for ends in ((0.0, THRESHOLD), (THRESHOLD + 1e-6, 1.0)):
        drawn = [adaptive_distribution(probability, shots) for probability in ends]
        low, mean, high = ([getattr(x, name) for x in drawn] for name in ("low", "mean", "high"))
        bounds.append(ScaleBounds(ends, low, mean, [min(value, 1) for value in high]))
    return bounds


def clip_section(
    dataset: ReportedSet, measures: Sequence[ImageMeasures], budget: ThumbnailBudget
) -> ClipSection:
    """The images that CLIP finds doubtful and typical, and the near-duplicates of real images."""
    total = len(measures)
    chosen = "" if total == len(dataset.images) else f"; evenly chosen of {len(dataset.images)}"
    off_class = sum(measured.is_off_class for measured in measures)
    near = sorted(
        (measured for measured in measures if measured.is_near_duplicate),
        key=lambda measured: -measured.cosine,
    )
    by_probability = sorted(measures, key=_probability)
    typical, count = [], Counter[str]()
    for measured in reversed(by_probability):
        count[measured.image.label] += 1
        if count[measured.image.label] <= TYPICAL_PER_CLASS:
            typical.append(measured)
    bound = f"(cosine at least {NEAR_DUPLICATE:g})"
    if near:
        some = f"; the nearest {MOST_LISTED} are shown" if len(near) > MOST_LISTED else ""
        text = (
            f"{len(near)} of {total} images ({share_of(len(near), total)}{chosen}) are near-duplicates of "
            f"a real image to CLIP {bound}{some}. They add little that is new."
        )
    else:
        nearest = max(measured.cosine for measured in measures)
        none = f"None of {total} images, evenly chosen," if chosen else "None"
        text = f"{none} is a near-duplicate of a real image to CLIP {bound}; the nearest has {nearest:.2f}."
    real = list(dataset.real.values())
    return ClipSection(
        off_class=f"{off_class} of {total} images ({share_of(off_class, total)}{chosen}) are off-class: "
        "CLIP gives another class a higher probability.",
        doubtful=_shown(by_probability[:MOST_LISTED], budget),
        typical=_shown(typical[:MOST_LISTED], budget),
        near_duplicates=text,
        pairs=[
            pair
            for measured in near[:MOST_LISTED]
            if (pair := _pair(measured, real[measured.nearest], budget)) is not None
        ],
    )


def _probability(measured: ImageMeasures) -> float:
    return 1.0 if measured.clip_probability is None else measured.clip_probability


def _doubt(measured: ImageMeasures) -> list[str]:
    notes = [f"{measured.image.label}: {_probability(measured):.2f}"]
    return [*notes, f"CLIP predicts {measured.predicted}"] if measured.is_off_class else notes


def _shown(measures: Sequence[ImageMeasures], budget: ThumbnailBudget) -> list[ShownImage]:
    thumbnails = budget.take([measured.image.path for measured in measures]) or []
    return [
        ShownImage(thumbnail, measured.image.prompt, measured.image.ip_adapter_scale, _doubt(measured))
        for thumbnail, measured in zip(thumbnails, measures, strict=False)
    ]


def _pair(
    measured: ImageMeasures, real: RealImage, budget: ThumbnailBudget
) -> tuple[ShownImage, ShownImage] | None:
    thumbnails = budget.take([real.path, measured.image.path])
    if thumbnails is None:
        return None
    notes = [f"cosine {measured.cosine:.3f}"]
    return (
        ShownImage(thumbnails[0], f"real image of {real.label}"),
        ShownImage(thumbnails[1], measured.image.prompt, measured.image.ip_adapter_scale, notes),
    )
