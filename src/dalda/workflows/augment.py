"""From real images and captions to a plan, and from the plan to synthetic images."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from dalda.config import AugmentConfig
from dalda.config.roles import content_of, defaults_of, digest_of, names_of
from dalda.datasets.image_folder import refuse_output_inside
from dalda.datasets.registry import made_for
from dalda.device import device_named
from dalda.errors import UserError
from dalda.generation.plan import generator_fingerprint, make_plan, refuse_incapable
from dalda.generation.source_probabilities import read_probabilities, write_probabilities
from dalda.generation.synthetic_dataset import CONTENTS, SyntheticDataset
from dalda.methods.base import Common, Method, Prepared, Tools, method_named, method_options
from dalda.methods.scale_policy import THRESHOLD
from dalda.models.fingerprint import contents_of
from dalda.models.presets import Preset, overridden, preset_named, with_adapter
from dalda.plugins import plugins_of
from dalda.progress import progress, say
from dalda.types import FewShotSplit, GenerationPlan, GenerationRequest
from dalda.workflows.captions import captions_for
from dalda.workflows.loading import load_generator, load_scorer, token_counter
from dalda.workflows.real_images import image_features, load_dataset, score_examples, split_of, usable
from dalda.workflows.reports import AugmentDryRun, AugmentReport

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from dalda.generation.backends.base import ImageGenerator
    from dalda.generation.executors.base import Executor

TEXT_TOKENS = 77
"""What CLIP's text encoders read, begin and end included."""
SETTING_DEFAULTS = {**defaults_of(AugmentConfig), "preset": defaults_of(Preset)}
"""What a setting was in a folder that was begun before there was such an option."""
_VERSIONED = ("dalda", "torch", "diffusers", "transformers", "numpy", "Pillow")


def preset_of(config: AugmentConfig) -> Preset:
    """The model's row with what the user overrides."""
    chosen = {name: getattr(config, name) for name in names_of(AugmentConfig, within="preset")}
    model = chosen.pop("model")
    external = model in plugins_of("dalda.generators")
    row = replace(preset_named("sd15"), model=model, vae=None) if external else preset_named(model)
    preset = overridden(row, chosen.pop("model_option"))
    adapter = chosen.pop("adapter")
    if adapter is not None:
        preset = with_adapter(preset, adapter)
    return replace(preset, **{name: value for name, value in chosen.items() if value is not None})


@dataclass
class GeneratorLoader:
    """A generator that is loaded when it is first needed, and then kept."""

    build: Callable[[], "ImageGenerator"]
    generator: "ImageGenerator | None" = None

    def load(self) -> "ImageGenerator":
        """The generator. Raises UserError if it cannot be loaded."""
        if self.generator is None:
            self.generator = self.build()
        return self.generator


@dataclass(frozen=True)
class AugmentPlan:
    """Everything that is decided before the first image: the plan and what it was made from."""

    split: FewShotSplit
    preset: Preset
    captions: Mapping[str, Sequence[str]]
    plan: GenerationPlan
    method: Method
    loader: GeneratorLoader
    skipped: tuple[str, ...] = ()
    """A sentence on each image of the data set that cannot be used."""
    probabilities: tuple[float, ...] | None = None
    """CLIP class probability of each of the split's images, if they are known."""
    contents: Mapping[str, str] = field(default_factory=dict)
    """Hashes of models in the user's folders, by the names of their settings."""
    fingerprint: Mapping[str, object] | None = None
    """Of a generator that is no preset."""

    @property
    def clip(self) -> str:
        """Which CLIP the probabilities are of."""
        return self.contents.get("preset.clip", self.preset.clip)


def plan_augment(
    config: AugmentConfig,
    probabilities: Sequence[float] | None = None,
    *,
    generator: "ImageGenerator | None" = None,
) -> AugmentPlan:
    """Split, captions, CLIP class probabilities and requests; probabilities are computed only if needed.

    Those that the folder was begun with hold, whatever `probabilities` says: they decide the requests.
    """
    preset, method = preset_of(config), method_named(config.method)
    loader = GeneratorLoader(lambda: load_generator(config, preset), generator)
    options = options_of(config)
    refuse_output_inside(config.out, load_dataset(config.dataset, config.root))
    split, skipped = usable(split_of(config), config.on_bad_image)
    captions = captions_for(split, preset.words, config.seed, config.captions)
    contents = contents_of(config.model, preset)
    fingerprint = None
    if generator is not None or config.model in plugins_of("dalda.generators"):
        fingerprint = json.loads(json.dumps(dict(loader.load().fingerprint), default=str))
        if not fingerprint:
            raise UserError(
                f"the generator {type(loader.load()).__name__} has an empty fingerprint, and its images "
                "could not be distinguished from another's; give it one (docs/generators.md)"
            )
        refuse_incapable(method.name, method.needs_with(options), config.model, loader.load().capabilities)
    digest = digest_of(fingerprint or generator_fingerprint(preset, contents))
    sources = _Sources(config, preset, contents.get("preset.clip", preset.clip), split, probabilities)
    common = Common(
        method=method.name,
        generator=digest,
        per_image=config.per_image,
        prompt_prefix=preset.prompt_prefix,
        negative_prompt=preset.negative_prompt,
        **_sampling(config, preset, options),
    )
    given = None if probabilities is None else sources.probabilities()
    tools = Tools(common, sources.probabilities, given, sources.clip_features)
    prepared: Prepared = method.prepare(split, options, tools)
    plan = make_plan(method.requests(split, captions, prepared, config.seed), digest)
    known = None if prepared.probabilities is None else tuple(prepared.probabilities)
    return AugmentPlan(split, preset, captions, plan, method, loader, skipped, known, contents, fingerprint)


def _sampling(config: AugmentConfig, preset: Preset, options: Any) -> dict[str, Any]:
    """Guidance scale and steps: the user's, else the method's own, else the preset's."""
    return {
        name: getattr(preset, name)
        if getattr(config, name) is not None or getattr(options, name, None) is None
        else getattr(options, name)
        for name in ("guidance_scale", "steps")
    }


def _shared_options() -> set[str]:
    """Options of the default method that have an option of `dalda augment` of their own."""
    return AugmentConfig.model_fields.keys() & method_named("dalda").Options.model_fields.keys()


def options_of(config: AugmentConfig) -> Any:
    """The method's options, `--method-option` last. Raises UserError for those that it does not have."""
    chosen = content_of(config)
    shared = {name: chosen[name] for name in _shared_options() & chosen.keys()}
    return method_options(method_named(config.method), shared | config.method_option)


@dataclass(frozen=True)
class _Sources:
    """CLIP class probabilities of the source images: from the folder, as given, or computed."""

    config: AugmentConfig
    preset: Preset
    clip: str
    split: FewShotSplit
    given: Sequence[float] | None

    def probabilities(self) -> tuple[float, ...]:
        keys = [(image.label, image.sha256) for image in self.split.images]
        found = dict(zip(keys, self.given, strict=True)) if self.given is not None else {}
        found |= read_probabilities(self.config.out, self.clip)
        unknown = tuple(
            image for image, key in zip(self.split.images, keys, strict=True) if key not in found
        )
        if unknown:
            clip = load_scorer(self.preset.clip, device_named(self.config.device))
            values = score_examples(replace(self.split, images=unknown), clip)
            found |= {
                (image.label, image.sha256): value for image, value in zip(unknown, values, strict=True)
            }
        return tuple(found[key] for key in keys)

    def clip_features(self) -> "NDArray[np.float32]":
        """CLIP features of the split's images, [images, d]."""
        return image_features(self.split, load_scorer(self.preset.clip, device_named(self.config.device)))


def augment(
    config: AugmentConfig,
    generator: "ImageGenerator | None" = None,
    executor: "Executor | None" = None,
) -> AugmentReport:
    """Generates the synthetic set, or what is missing of it, in `config.out`.

    `generator` is any object with the protocol `ImageGenerator`, in place of `config.model`.
    """
    if generator is None:
        warn_of_model(config)
    planned = plan_augment(config, generator=generator)
    return generate_plan(config, planned, open_dataset(config, planned), executor=executor)


def open_dataset(config: AugmentConfig, planned: AugmentPlan) -> SyntheticDataset:
    """The output folder. Raises UserError if it was begun with other settings."""
    return SyntheticDataset.open(config.out, generation_settings(config, planned), SETTING_DEFAULTS)


def generate_plan(
    config: AugmentConfig,
    planned: AugmentPlan,
    dataset: SyntheticDataset,
    loader: GeneratorLoader | None = None,
    executor: "Executor | None" = None,
) -> AugmentReport:
    """Generates what the dataset lacks; loads the model only if there is something to do."""
    requests, started = planned.plan.requests, time.monotonic()
    retry = config.retry_dropped
    missing = dataset.missing(requests, retry_dropped=retry)
    # Also if nothing is missing: an earlier run may have been stopped just before it put all in order.
    if missing or not dataset.is_settled(requests):
        with dataset.held():
            # Once more, now that no other process adds any.
            missing = dataset.missing(requests, retry_dropped=retry)
            if missing:
                _write_probabilities(planned, dataset)
                dataset.remember("extent", _extent(config, planned, dataset))
                _generate(config, planned, missing, dataset, loader or planned.loader, executor)
            dataset.settle(requests)
    retried, reasons = dataset.reasons()
    without = {str(line["request_id"]) for line in dataset.dropped()}
    dropped_now = sum(request.id in without for request in missing)
    return AugmentReport(
        out=config.out,
        planned=len(requests),
        generated=len(missing) - dropped_now,
        already_there=sum(request.id not in without for request in requests) - len(missing) + dropped_now,
        dropped=sum(reasons.values()),
        seconds=round(time.monotonic() - started, 2),
        dropped_for=dict(reasons),
        retried_for=dict(retried),
        skipped=planned.skipped,
        batch_size=dataset.execution().get("batch_size") if missing else None,
    )


def _generate(
    config: AugmentConfig,
    planned: AugmentPlan,
    missing: Sequence[GenerationRequest],
    dataset: SyntheticDataset,
    loader: GeneratorLoader,
    executor: "Executor | None",
) -> None:
    """In batches of the user's size, else of the size that the folder was begun with."""
    from dalda.generation.backends.base import TunableGenerator
    from dalda.generation.executors.base import Batches
    from dalda.generation.executors.local import LocalExecutor
    from dalda.generation.image_encoding import FORMATS
    from dalda.generation.sink import ATTEMPTS, ATTEMPTS_ON_RETRY, DatasetSink

    generator = loader.load()
    needs = planned.method.needs_with(options_of(config))
    refuse_incapable(planned.method.name, needs, config.model, generator.capabilities)
    warn_of_cuts(planned.preset, missing)
    recorded = dataset.execution()
    device = generator.execution.get("device") if isinstance(generator, TunableGenerator) else None
    earlier = recorded.get("batch_size") if recorded.get("device") == device else None
    size = config.batch_size or (earlier if isinstance(earlier, int) and earlier > 0 else None)
    executor = executor or LocalExecutor(FORMATS[config.format], planned.method.finish)
    wanted = {request.id for request in missing}
    attempts = ATTEMPTS_ON_RETRY if config.retry_dropped else ATTEMPTS
    with (
        progress("generate", len(missing)) as bar,
        DatasetSink(dataset, wanted, bar, _provenance(config, planned), attempts) as sink,
    ):
        executor.run(loader, Batches(planned.plan.requests, wanted, size), sink)


def _write_probabilities(planned: AugmentPlan, dataset: SyntheticDataset) -> None:
    if planned.probabilities is not None:
        pairs = zip(planned.split.images, planned.probabilities, strict=True)
        known = {(image.label, image.sha256): value for image, value in pairs}
        write_probabilities(dataset.folder, planned.clip, known)


def _extent(config: AugmentConfig, planned: AugmentPlan, dataset: SyntheticDataset) -> dict[str, Any]:
    """How much there is: what may grow from one run to the next."""
    ids = dataset.finished() | {request.id for request in planned.plan.requests}
    before = dataset.extent().get("planned")
    return {
        **_extent_settings(config, planned),
        "planned": max(len(ids), before if isinstance(before, int) else 0),
    }


def _extent_settings(config: AugmentConfig, planned: AugmentPlan) -> dict[str, Any]:
    sources = [[image.label, image.sha256] for image in planned.split.images]
    return {
        "per_image": config.per_image,
        "shots": config.shots,
        "seed": config.seed,
        "real_images": len(sources),
        "real_images_sha256": digest_of(sources),
        "captions_sha256": digest_of(planned.captions),
    }


def _provenance(config: AugmentConfig, planned: AugmentPlan) -> dict[str, Any]:
    """What each record says of the generator."""
    if planned.fingerprint is not None:
        plain = {
            name: value
            for name, value in planned.fingerprint.items()
            if value is None or isinstance(value, str | int | float)
        }
        return {"model": type(planned.loader.load()).__name__, **plain}
    preset = planned.preset
    return {
        "model": config.model,
        "scheduler": preset.scheduler,
        "guidance_interval": list(preset.guidance_interval),
        "adapter": f"{preset.adapter}:{preset.adapter_file}",
        "vae": preset.vae,
        "lora": preset.lora,
    }


def generation_settings(config: AugmentConfig, planned: AugmentPlan) -> dict[str, Any]:
    """What is saved beside the images; all but versions, execution and extent must stay on resuming."""
    execution = config.model_dump(mode="json", include=set(names_of(AugmentConfig, "execution")))
    content = {**defaults_of(config, extents=False), **content_of(config, extents=False)}
    foreign = _shared_options() - planned.method.Options.model_fields.keys()
    generator = {} if planned.fingerprint is None else {"generator": dict(planned.fingerprint)}
    return {
        "folder_format": 1,
        "dataset": planned.split.dataset,
        "model": config.model,
        **{name: value for name, value in content.items() if name not in foreign},
        **generator,
        "preset": json.loads(json.dumps(asdict(planned.preset))),
        **({CONTENTS: dict(planned.contents)} if planned.contents else {}),
        "extent": _extent_settings(config, planned),
        "execution": {**execution, "batch_size": config.batch_size or "auto"},
        "versions": {name: version(name) for name in _VERSIONED},
    }


def dry_run(config: AugmentConfig) -> AugmentDryRun:
    """The plan's size and spread; time is measured on one batch, nothing is written."""
    warn_of_model(config)
    planned = plan_augment(config)
    requests = planned.plan.requests
    probabilities = [request.source_clip_probability for request in requests]
    seconds, size = _measured(config, planned)
    return AugmentDryRun(
        planned=len(requests),
        classes=len(planned.split.classes),
        images=len(planned.split.images),
        ip_adapter_scale=scale_summary(requests),
        low_clip_probability=sum(value is not None and value <= THRESHOLD for value in probabilities),
        seconds=seconds,
        megabytes=round(len(requests) * 1.6 * size * size / 1e6, 2),
        skipped=planned.skipped,
    )


def _measured(config: AugmentConfig, planned: AugmentPlan) -> tuple[float | None, int]:
    """Seconds for the whole plan, from one batch of it, and the images' size in pixels."""
    from dalda.generation.executors.local import seconds_per_image

    requests = planned.plan.requests
    try:
        generator = planned.loader.load()
        pace = seconds_per_image(generator, requests, config.batch_size)
    except UserError as error:
        say(f"note: the time is unknown, since {error}")
        return None, planned.preset.size or 512
    return round(pace * len(requests), 1), generator.image_size


def scale_summary(requests: Sequence[GenerationRequest]) -> dict[str, float]:
    """How a plan's IP-Adapter scales are distributed: minimum, quartiles and maximum."""
    import numpy as np

    percentiles = {"min": 0, "q25": 25, "median": 50, "q75": 75, "max": 100}
    scales = [request.ip_adapter_scale for request in requests]
    return {name: round(float(np.percentile(scales, at)), 4) for name, at in percentiles.items()}


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
