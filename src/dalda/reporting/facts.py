"""The report's facts about runs and synthetic sets: what was run, with which settings and captions."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dalda.captions.quality import summary_of
from dalda.captions.validation import Rules
from dalda.config import ClassifierConfig
from dalda.datasets.class_names import wordings_of
from dalda.generation.set_settings import section_in, with_extent
from dalda.models.presets import SHIPPED
from dalda.reporting.image_set import ReportedSet
from dalda.reporting.thumbnails import chosen_evenly
from dalda.types import TrialResult

MOST_CAPTIONS = 200
"""Of a class, since each is compared with all others."""


def set_facts(dataset: ReportedSet) -> dict[str, str]:
    """What the set was generated with, as far as its settings say."""
    settings, preset = with_extent(dataset.settings), section_in(dataset.settings, "preset")
    sources = len({(image.label, image.source_sha256) for image in dataset.images})
    name, weights = str(settings.get("model", "")), str(preset.get("model", ""))
    if weights not in ("", name) and not weights.startswith(SHIPPED):
        name = f"{name} ({weights})"
    rendering = {**preset, **section_in(settings, "execution")}
    versions = section_in(settings, "versions")
    missing = sources - len(dataset.real)
    facts = {
        "Images": f"{len(dataset.images)} from {sources} real ones, {len(dataset.labels)} classes",
        "Data set": _words(settings, "dataset", "shots", "seed", "split_strategy"),
        "Model": name,
        "Method": _words(settings, "method", "ip_adapter_scale", "scale_sampling", "per_image"),
        "Generation": "steps " * (rendering.get("steps") is not None)
        + _words(rendering, "steps", "guidance_scale", "device", "batch_size"),
        "Versions": ", ".join(f"{package} {version}" for package, version in versions.items()),
        "Real images": f"{missing} of {sources} are missing or have changed, so they are not shown"
        if missing
        else "",
    }
    return {fact: text for fact, text in facts.items() if text}


def caption_facts(dataset: ReportedSet) -> dict[str, str]:
    """How good and how different the captions are, by the rules of `dalda captions`."""
    prefix = str(section_in(dataset.settings, "preset").get("prompt_prefix") or "")
    different: dict[str, dict[str, None]] = {}
    for image in dataset.images:
        different.setdefault(image.label, {})[image.prompt.removeprefix(prefix)] = None
    captions = {label: chosen_evenly(list(texts), MOST_CAPTIONS) for label, texts in different.items()}
    name = str(dataset.settings.get("dataset", ""))
    rules = Rules(list(captions), wordings_of(name, list(captions)), prefix)
    reasons = (
        rules.reason_against(caption, label, of_class[:number])
        for label, of_class in captions.items()
        for number, caption in enumerate(of_class)
    )
    summary = summary_of(captions, rules, [reason for reason in reasons if reason is not None])
    facts = {
        "Different captions": f"{sum(map(len, different.values()))} for {len(dataset.images)} images; "
        f"at least {min(map(len, different.values()), default=0)} per class"
    }
    if any(len(texts) > MOST_CAPTIONS for texts in different.values()):
        facts["Compared"] = f"{MOST_CAPTIONS} of a class's captions, evenly chosen"
    if summary.distinct_2 is not None:
        share = f"{100 * summary.distinct_2:.0f} % of all pairs of neighbouring words"
        facts["Variety"] = f"{share} are different (distinct-2)"
    if summary.similarity is not None:
        share = f"{100 * summary.similarity:.0f} % of their words"
        facts["Similarity within a class"] = f"two captions share {share} on average"
    rejected = ", ".join(f"{reason} ({count})" for reason, count in summary.rejected.items())
    return {**facts, "Problems": rejected or "none by the rules of dalda captions"}


def run_facts(
    results: Sequence[TrialResult], trained: Mapping[str, Mapping[str, str]], sets: int
) -> dict[str, str]:
    """What was run, over all runs; `trained` holds each run's `training_facts` by its name."""
    shots = sorted({result.shots for result in results if result.shots is not None})
    facts: dict[str, list[str]] = {}
    for run, of_run in trained.items():
        for fact, text in of_run.items():
            facts.setdefault(fact, []).append(f"{run}: {text}" if len(trained) > 1 else text)
    return {
        "Data set": _listed(result.dataset for result in results),
        "Classes": _listed(len(result.classes) for result in results),
        "Shots": _listed([*shots, *(["all"] if any(result.shots is None for result in results) else [])]),
        "Arms": _listed(result.arm for result in results),
        "Seeds": _listed(sorted({result.seed for result in results})),
        "Trials": str(len(results)),
        "Validation images": _listed(len(result.right) for result in results),
        **{fact: "; ".join(texts) for fact, texts in facts.items()},
        "Synthetic sets": str(sets) if sets else "none in the named folders",
    }


def training_facts(recorded: Mapping[str, Any], arms: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """How a run trained, from what it recorded and the settings of each arm."""
    first = arms[0]
    if not first.get("epochs"):
        return {}
    seconds, versions = recorded.get("seconds"), section_in(recorded, "versions")
    facts = {
        "Classifier": f"{first.get('backbone')}, finetune {first.get('finetune')}, {_schedule(first)}",
        "Mixing": " or ".join(
            dict.fromkeys(_words(arm, "mixing", "synthetic_probability", "batch_augment") for arm in arms)
        ),
        "Versions": ", ".join(f"{package} {version}" for package, version in versions.items()),
    }
    if isinstance(seconds, int | float):
        device = recorded.get("device")
        facts["Time"] = duration(seconds) + (f", on {device}" if device not in (None, "auto") else "")
    return {fact: text for fact, text in facts.items() if text}


def _schedule(arm: Mapping[str, Any]) -> str:
    """The steps of a linear head, the only one of older versions; another one has none, and is named."""
    head = arm.get("head", "linear")
    known = {name: arm[name] for name in ClassifierConfig.model_fields if name in arm}
    if head != "linear" and not (head == "auto" and ClassifierConfig.model_construct(**known).stepwise):
        return f"head {head}"
    return (
        f"{arm.get('epochs')} epochs of {arm.get('iterations')} steps, batch size {arm.get('batch_size')}"
    )


def duration(seconds: float) -> str:
    """In words, from the hours down to the seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _words(settings: Mapping[str, Any], *keys: str) -> str:
    """The settings in words: the first value bare, the others after their names."""
    known = [(key, settings[key]) for key in keys if settings.get(key) is not None]
    names = {key: key.replace("ip_adapter", "IP-Adapter").replace("_", " ") + " " for key in keys[1:]}
    return ", ".join(f"{names.get(key, '')}{value}" for key, value in known)


def _listed(values: Iterable[object]) -> str:
    return ", ".join(dict.fromkeys(map(str, values)))
