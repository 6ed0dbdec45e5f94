"""What CLIP sees in a synthetic set: the typical, the doubtful, and near-copies of real images."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dalda.errors import UserError
from dalda.reporting.report import Budget, Pair, SetPart, Shown
from dalda.types import FewShotSplit, SyntheticImage
from dalda.workflows.report.sources import Material

if TYPE_CHECKING:
    from dalda.evaluation.features import FeatureStore
    from dalda.evaluation.generative_metrics import ImageMeasures

MOST = 12
"""Images of each kind."""
PER_CLASS = 2
"""Typical images of a class: else one easy class would take all places."""


def with_looks(part: SetPart, material: Material, store: "FeatureStore", budget: Budget) -> SetPart:
    """The part with what CLIP says of its images. Raises UserError where there is nothing to compare."""
    from dalda.evaluation.generative_metrics import NEAR_DUPLICATE, measure_images

    if not material.images:
        raise UserError("the real images are no longer where they were, so nothing can be compared")
    split = split_of(material)
    looks = measure_images(split, material.samples, store)
    stray = sum(look.is_off_class for look in looks)
    near = sorted((look for look in looks if look.is_near_duplicate), key=lambda look: -look.cosine)
    nearest = max(looks, key=lambda look: look.cosine)
    least = sorted(
        looks,
        key=lambda look: look.clip_probability if look.clip_probability is not None else 1.0,
    )
    said = (
        f"In {stray} of {len(looks)} images ({share(stray, len(looks))}) CLIP sees another class "
        "than the one they were made for. What CLIP itself hardly knows looks doubtful to it, too."
    )
    if near:
        near_say = (
            f"{len(near)} of {len(looks)} images ({share(len(near), len(looks))}) are nearly the same "
            f"as a real one to CLIP (cosine at least {NEAR_DUPLICATE:g})"
            + (f"; the nearest {MOST} are shown." if len(near) > MOST else ".")
            + " They add little that is new."
        )
    else:
        near_say = (
            f"None is nearly the same as a real one to CLIP (cosine at least {NEAR_DUPLICATE:g}); "
            f"the nearest has {nearest.cosine:.2f}."
        )
    return replace(
        part,
        doubtful=_shown(least[:MOST], budget, _doubt),
        doubtful_say=said,
        typical=_shown(_typical(material, looks, store), budget, lambda look: (look.image.label,)),
        near=_pairs(near[:MOST], split, budget),
        near_say=near_say,
        unseen="",
    )


def share(count: int, total: int) -> str:
    return f"{100 * count / max(total, 1):.0f} %"


def split_of(material: Material) -> FewShotSplit:
    """The real images that the set was made from, as far as they are there."""
    settings: Mapping[str, Any] = material.settings
    return FewShotSplit(
        dataset=str(settings.get("dataset", "")),
        root=Path(),
        part="train",
        seed=0,
        shots=None,
        classes=tuple(material.labels),
        images=tuple(material.images.values()),
    )


def _doubt(look: "ImageMeasures") -> tuple[str, ...]:
    if look.clip_probability is None:
        return (look.image.label,)
    seen = f"CLIP sees {look.predicted}" if look.is_off_class else "CLIP sees it"
    return (f"{look.image.label}: {look.clip_probability:.2f}", seen)


def _typical(
    material: Material, looks: Sequence["ImageMeasures"], store: "FeatureStore"
) -> list["ImageMeasures"]:
    """The images nearest to the mean of their class's real ones, a few of each class."""
    from dalda.evaluation.features import normalized
    from dalda.evaluation.trial import image_file

    real = normalized(store.plain([image_file(one) for one in material.images.values()]))
    labels = [label for label, _ in material.images]
    middles = {
        name: real[[place for place, label in enumerate(labels) if label == name]].mean(0)
        for name in dict.fromkeys(labels)
    }
    known = [look for look in looks if look.image.label in middles]
    made = normalized(store.plain([image_file(look.image) for look in known]))
    typical = [float(made[place] @ middles[look.image.label]) for place, look in enumerate(known)]
    chosen: list[ImageMeasures] = []
    count: Counter[str] = Counter()
    for place in sorted(range(len(known)), key=lambda place: -typical[place]):
        label = known[place].image.label
        if count[label] < PER_CLASS and len(chosen) < MOST:
            count[label] += 1
            chosen.append(known[place])
    return chosen


def _shown(looks: Sequence["ImageMeasures"], budget: Budget, notes: Any) -> tuple[Shown, ...]:
    taken = budget.take([look.image.path for look in looks]) or []
    return tuple(
        Shown(thumb, look.image.prompt, look.image.ip_adapter_scale, notes(look))
        for thumb, look in zip(taken, looks, strict=False)
    )


def _pairs(looks: Sequence["ImageMeasures"], split: FewShotSplit, budget: Budget) -> tuple[Pair, ...]:
    pairs = []
    for look in looks:
        real = split.images[look.nearest]
        taken = budget.take([real.path, look.image.path])
        if taken is None:
            break
        sample: SyntheticImage = look.image
        pairs.append(
            Pair(
                Shown(taken[0], f"real image of {real.label}"),
                Shown(taken[1], sample.prompt, sample.ip_adapter_scale, (f"cosine {look.cosine:.3f}",)),
            )
        )
    return tuple(pairs)
