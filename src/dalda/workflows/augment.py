"""From examples and captions to a plan, and from the plan to images."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from dalda.captions.caption_file import assign_captions
from dalda.config import AugmentConfig
from dalda.config.roles import content_of, defaults_of, digest_of, names_of
from dalda.datasets.image_folder import refuse_output_inside
from dalda.datasets.image_io import open_source
from dalda.datasets.registry import made_for
from dalda.device import device_named
from dalda.errors import UserError
from dalda.generation.plan import Recipe, make_plan
from dalda.generation.source_probabilities import keep_scores, kept_scores
from dalda.generation.synthetic_dataset import CONTENTS, SyntheticDataset
from dalda.methods.scale_policy import policy_named
from dalda.models.fingerprint import contents_of
from dalda.models.presets import Preset, overridden, preset_named, with_adapter
from dalda.progress import progress, say
from dalda.types import FewShotSplit, GenerationPlan, GenerationRequest
from dalda.workflows.captions import captions_for
from dalda.workflows.loading import load_model, load_scorer, token_counter
from dalda.workflows.real_images import load_dataset, score_examples, split_of, usable
from dalda.workflows.reports import AugmentDryRun, AugmentReport

if TYPE_CHECKING:
    from dalda.generation.backends.stable_diffusion import Renderer

TEXT_TOKENS = 77
"""What CLIP's text encoders read, begin and end included."""
SETTING_DEFAULTS = {**defaults_of(AugmentConfig), "preset": defaults_of(Preset)}
"""What a setting was in a folder that was begun before there was such an option."""
_VERSIONED = ("dalda", "torch", "diffusers", "transformers", "numpy", "Pillow")


def preset_of(config: AugmentConfig) -> Preset:
    """The model's row with what the user overrides."""
    chosen = {name: getattr(config, name) for name in names_of(AugmentConfig, within="preset")}
    preset = overridden(preset_named(chosen.pop("model")), chosen.pop("model_option"))
    adapter = chosen.pop("adapter")
    if adapter is not None:
        preset = with_adapter(preset, adapter)
    return replace(preset, **{name: value for name, value in chosen.items() if value is not None})


@dataclass(frozen=True)
class AugmentPlan:
    """Everything that is settled before the first image: the plan and what it was made from."""

    split: FewShotSplit
    preset: Preset
    captions: Mapping[str, Sequence[str]]
    plan: GenerationPlan
    skipped: tuple[str, ...] = ()
    """A sentence on each image of the data set that cannot be used."""
    scores: tuple[float, ...] | None = None
    """The CLIP class probability of each of the split's examples, where they are known."""
    contents: Mapping[str, str] = field(default_factory=dict)
    """What models in folders of the user's hold, by the names of their settings."""

    @property
    def clip(self) -> str:
        """Which CLIP the scores are of."""
        return self.contents.get("preset.clip", self.preset.clip)


def decide(config: AugmentConfig, scores: Sequence[float] | None = None) -> AugmentPlan:
    """FewShotSplit, captions, scores and lambda, up to the plan; scores are computed only where needed.

    Those that the folder was begun with hold, whatever `scores` says: they decide the requests.
    """
    preset = preset_of(config)
    policy = policy_named(config.ip_adapter_scale, config.scale_sampling)
    refuse_output_inside(config.out, load_dataset(config.dataset, config.root))
    split, skipped = usable(split_of(config), config.on_bad_image)
    captions = captions_for(split, preset.words, config.seed, config.captions)
    contents = contents_of(config.model, preset)
    known = _scores_of(config, preset, contents, split, scores)
    recipe = Recipe(
        method=config.method,
        model=contents.get("model", config.model),
        prompt_prefix=preset.prompt_prefix,
        negative_prompt=preset.negative_prompt,
        guidance_scale=preset.guidance_scale,
        steps=preset.steps,
        per_image=config.per_image,
        seed=config.seed,
    )
    plan = make_plan(split, captions, known, policy, assign_captions, recipe)
    return AugmentPlan(split, preset, captions, plan, skipped, known, contents)


def _scores_of(
    config: AugmentConfig,
    preset: Preset,
    contents: Mapping[str, str],
    split: FewShotSplit,
    given: Sequence[float] | None,
) -> tuple[float, ...] | None:
    """What the folder keeps, then what is given; the rest is computed. None where none are needed."""
    keys = [(one.label, one.sha256) for one in split.images]
    found: dict[tuple[str, str], float] = {}
    if given is not None:
        found = dict(zip(keys, given, strict=True))
    elif config.ip_adapter_scale != "adaptive":
        return None
    found |= kept_scores(config.out, contents.get("preset.clip", preset.clip), split.classes)
    unknown = tuple(one for one, key in zip(split.images, keys, strict=True) if key not in found)
    if unknown:
        rest = replace(split, images=unknown)
        scores = score_examples(rest, load_scorer(preset.clip, device_named(config.device)))
        found |= {(one.label, one.sha256): score for one, score in zip(unknown, scores, strict=True)}
    return tuple(found[key] for key in keys)


def augment(config: AugmentConfig, renderer: "Renderer | None" = None) -> AugmentReport:
    """Makes the synthetic set, or what is still missing of it, in `config.out`."""
    warn_of_model(config)
    decided = decide(config)
    store = SyntheticDataset.open(config.out, settings_of(config, decided), SETTING_DEFAULTS)
    return generate_plan(config, decided, store, renderer)


def generate_plan(
    config: AugmentConfig, decided: AugmentPlan, store: SyntheticDataset, renderer: "Renderer | None" = None
) -> AugmentReport:
    """Renders what the store lacks; loads the model only if there is something to do."""
    from dalda.generation.executors.local import missing_requests

    plan, started = decided.plan, time.monotonic()
    missing = missing_requests(plan, store)
    dropped_before = len(store.dropped())
    batch_size = None
    # Also when nothing is missing: an earlier run may have been stopped just before it put all in order.
    if missing or not store.is_settled(plan.requests):
        with store.held():
            # Once more, now that no other process adds any.
            missing = missing_requests(plan, store)
            dropped_before = len(store.dropped())
            if missing:
                _keep_scores(decided, store)
                renderer = renderer or _loaded(config, decided.preset)
                warn_of_cuts(decided.preset, missing)
                batch_size = _generate_missing(config, decided, missing, store, renderer)
            store.settle(plan.requests)
    again, reasons = store.faults()
    dropped = sum(reasons.values())
    planned = len(plan.requests)
    return AugmentReport(
        out=config.out,
        planned=planned,
        generated=len(missing) - (dropped - dropped_before),
        already_there=planned - len(missing) - dropped_before,
        dropped=dropped,
        seconds=round(time.monotonic() - started, 2),
        dropped_for=dict(reasons),
        rendered_again=dict(again),
        skipped=decided.skipped,
        batch_size=batch_size,
    )


def _keep_scores(decided: AugmentPlan, store: SyntheticDataset) -> None:
    if decided.scores is not None:
        examples = decided.split.images
        scores = {
            (one.label, one.sha256): score for one, score in zip(examples, decided.scores, strict=True)
        }
        keep_scores(store.folder, decided.clip, decided.split.classes, scores)


def _loaded(config: AugmentConfig, preset: Preset) -> "Renderer":
    return load_model(
        preset,
        device_named(config.device),
        dtype=config.dtype,
        channels_last=config.channels_last,
        compiled=config.compile,
    )


def _generate_missing(
    config: AugmentConfig,
    decided: AugmentPlan,
    missing: Sequence[GenerationRequest],
    store: SyntheticDataset,
    renderer: "Renderer",
) -> int:
    """Generates in batches of the user's size, else of the size that the folder was begun with."""
    from dalda.generation.batching import probed_batch_size
    from dalda.generation.executors.local import generate
    from dalda.generation.image_encoding import FORMATS

    earlier = store.rendering()
    kept = earlier.get("batch_size") if earlier.get("device") == renderer.device else None
    batch_size = config.batch_size or (kept if isinstance(kept, int) and kept > 0 else None)
    if batch_size is None:
        first = missing[0]
        batch_size = probed_batch_size(renderer, first, lambda: open_source(first.source))
    # A short last batch has the same shape, whether or not others were rendered before it.
    renderer.padded_to = batch_size
    with progress("generate", len(missing)) as bar:
        return generate(
            decided.plan,
            missing,
            store,
            renderer.render,
            open_source,
            batch_size,
            bar,
            form=FORMATS[config.format],
            made_with=lambda: {"model": config.model, **renderer.made_with},
            rendering={"device": renderer.device, "dtype": renderer.dtype},
        )


def dry_run(config: AugmentConfig) -> AugmentDryRun:
    """The plan's size and spread; time is measured on one batch, nothing is written."""
    warn_of_model(config)
    decided = decide(config)
    requests = decided.plan.requests
    seconds, size = _tried(config, decided)
    return AugmentDryRun(
        planned=len(requests),
        classes=len(decided.split.classes),
        images=len(decided.split.images),
        ip_adapter_scale=lambda_summary(requests),
        low_clip_probability=sum(
            request.source_clip_probability is not None and request.source_clip_probability <= 0.3
            for request in requests
        ),
        seconds=seconds,
        megabytes=round(len(requests) * 1.6 * size * size / 1e6, 2),
        skipped=decided.skipped,
    )


def _tried(config: AugmentConfig, decided: AugmentPlan) -> tuple[float | None, int]:
    """Seconds for the whole plan, from one batch of it, and the images' size in pixels."""
    from dalda.generation.batching import automatic_batch_size

    try:
        renderer = _loaded(config, decided.preset)
    except UserError as error:
        say(f"note: the time is unknown, since {error}")
        return None, decided.preset.size or 512
    batch_size = config.batch_size or automatic_batch_size(renderer.size, renderer.device)
    pace = _pace(renderer, decided.plan.requests[:batch_size])
    if pace is None:
        say("note: the time is unknown, since there is not enough memory for a single image")
        return None, renderer.size
    return round(pace * len(decided.plan.requests), 1), renderer.size


def _pace(renderer: "Renderer", batch: Sequence[GenerationRequest]) -> float | None:
    """Seconds for a image in such a batch, or in half of one that does not fit; None where none fits."""
    from dalda.device import free_memory, is_out_of_memory

    while batch:
        sources = [open_source(request.source) for request in batch]
        started = time.monotonic()
        try:
            renderer.render(batch, sources)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        else:
            return (time.monotonic() - started) / len(batch)
        free_memory()
        batch = batch[: len(batch) // 2]
    return None


def settings_of(config: AugmentConfig, decided: AugmentPlan) -> dict[str, Any]:
    """What is saved beside the images; all but versions and rendering must stay the same on resuming."""
    examples = [[one.label, one.sha256] for one in decided.split.images]
    return {
        "dataset": decided.split.dataset,
        "model": config.model,
        **{**defaults_of(config), **content_of(config)},
        "examples": len(examples),
        "examples_sha256": digest_of(examples),
        "captions_sha256": digest_of(decided.captions),
        "preset": json.loads(json.dumps(asdict(decided.preset))),
        **({CONTENTS: dict(decided.contents)} if decided.contents else {}),
        "rendering": {
            **config.model_dump(mode="json", include=set(names_of(AugmentConfig, "execution"))),
            "batch_size": config.batch_size or "auto",
        },
        "versions": {name: version(name) for name in _VERSIONED},
    }


def lambda_summary(requests: Sequence[GenerationRequest]) -> dict[str, float]:
    """How a plan's weights are spread: minimum, quartiles and maximum."""
    import numpy as np

    marks = {"min": 0, "q25": 25, "median": 50, "q75": 75, "max": 100}
    weights = [request.ip_adapter_scale for request in requests]
    return {name: round(float(np.percentile(weights, mark)), 4) for name, mark in marks.items()}


def warn_of_cuts(preset: Preset, requests: Sequence[GenerationRequest]) -> None:
    """Says which prompts the text encoder will not read to their end."""
    count = token_counter(preset)
    prompts = dict.fromkeys(request.prompt for request in requests)
    cut = [prompt for prompt in prompts if count is not None and count(prompt) > TEXT_TOKENS]
    if cut:
        say(f"note: {len(cut)} prompts are longer than {TEXT_TOKENS} tokens and are cut, as '{cut[0]}'")


def warn_of_model(config: AugmentConfig) -> None:
    """Says that the model was made for other images than these."""
    known = made_for(config.model)
    if known and config.dataset not in known:
        say(
            f"note: the model '{config.model}' only knows {known[0]}; for photographs choose a real one, "
            "--model sd15"
        )
