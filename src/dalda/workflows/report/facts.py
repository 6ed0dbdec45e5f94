"""The report's words about one synthetic set: its settings, its captions, and what is not in it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dalda.captions.quality import summary_of
from dalda.captions.validation import Rules
from dalda.datasets.class_names import wording_of
from dalda.models.presets import SHIPPED
from dalda.workflows.report.sources import Material, source_of

FASTEST = 100
"""Images per second that a model may generate."""


def excluded(material: Material) -> dict[str, int]:
    """Images that are not in the set, by reason, the most frequent first."""
    reasons = Counter(str(line.get("reason", "no reason given")) for line in material.dropped)
    if material.made.rejected:
        reasons["rejected in dalda review"] += len(material.made.rejected)
    return dict(reasons.most_common())


def caption_facts(material: Material) -> dict[str, str]:
    """How good and how different the captions are, by the rules of `dalda captions`."""
    prefix = str(_preset(material).get("prompt_prefix") or "")
    book: dict[str, list[str]] = {}
    for sample in material.samples:
        caption = sample.prompt.removeprefix(prefix)
        captions = book.setdefault(sample.label, [])
        if caption not in captions:
            captions.append(caption)
    dataset = str(material.settings.get("dataset", ""))
    rules = Rules(list(book), {label: wording_of(dataset, label) for label in book}, prefix)
    against = [
        reason
        for label, captions in book.items()
        for place, caption in enumerate(captions)
        if (reason := rules.reason_against(caption, label, captions[:place])) is not None
    ]
    found = summary_of(book, rules, against)
    facts = {
        "Different captions": f"{found.captions} for {len(material.samples)} images; "
        f"at least {found.fewest} per class",
    }
    if found.distinct_2 is not None:
        facts["Variety"] = (
            f"{100 * found.distinct_2:.0f} % of all pairs of neighbouring words are different (distinct-2)"
        )
    if found.similarity is not None:
        facts["Likeness within a class"] = (
            f"two captions share {100 * found.similarity:.0f} % of their words on average"
        )
    told = ", ".join(f"{reason} ({count})" for reason, count in found.rejected.items())
    facts["Faults"] = told or "none by the rules of dalda captions"
    return facts


def set_facts(material: Material) -> dict[str, str]:
    """What the set was made with, as far as its settings say."""
    settings, preset = material.settings, _preset(material)
    made, real = len(material.samples), len({source_of(one) for one in material.samples})
    facts = {
        "Images": f"{made} from {real} real ones, {len(material.labels)} classes",
        "Data set": _said(settings, "dataset", "shots", "seed", "split_strategy"),
        "Model": _model(settings, preset),
        "Method": _said(settings, "method", "ip_adapter_scale", "scale_sampling", "per_image"),
        "Rendering": "steps " + _said({**preset, **_dict(settings.get("rendering"))}, *_RENDERING),
        "Versions": ", ".join(f"{name} {value}" for name, value in _dict(settings.get("versions")).items()),
        "Generated": _pace([one.path for one in material.samples]),
    }
    gone = real - len(material.images)
    if gone:
        facts["Real images"] = f"{gone} of {real} are gone or have changed, so they are not shown"
    return {name: text for name, text in facts.items() if text}


_RENDERING = ("steps", "guidance_scale", "device", "batch_size")


def _model(settings: Mapping[str, Any], preset: Mapping[str, Any]) -> str:
    """As the user named it, and which weights that is, where the name does not tell."""
    name, weights = str(settings.get("model", "")), str(preset.get("model", ""))
    return name if weights in ("", name) or weights.startswith(SHIPPED) else f"{name} ({weights})"


def _said(settings: Mapping[str, Any], *keys: str) -> str:
    """The settings in words, the first one bare."""
    words = [
        str(settings[key]) if place == 0 else f"{key.replace('_', ' ')} {settings[key]}"
        for place, key in enumerate(keys)
        if settings.get(key) is not None
    ]
    return ", ".join(words)


def _pace(paths: Sequence[Path]) -> str:
    """When, and how many per second, as the times of the files tell; pauses count.

    Nothing where the files came faster than any model generates: then they were copied or unpacked.
    """
    times = sorted(path.stat().st_mtime for path in paths)
    spent = times[-1] - times[0]
    if len(times) < 2 or spent < 1 or len(times) / spent > FASTEST:
        return ""
    when = datetime.fromtimestamp(times[0], UTC).strftime("%Y-%m-%d %H:%M UTC")
    pace = (
        f"{len(times) / spent:.1f} per second" if len(times) > spent else f"{spent / len(times):.1f} s each"
    )
    return f"{when}, within {duration(spent)}, {pace} (by the times of the files, pauses included)"


def duration(seconds: float) -> str:
    """In words, from the hours down to the seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _preset(material: Material) -> dict[str, Any]:
    return _dict(material.settings.get("preset"))


def _dict(value: object) -> dict[str, Any]:
    return dict(value) if isinstance(value, dict) else {}
