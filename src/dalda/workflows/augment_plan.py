"""What is decided before the first image: split, captions, CLIP class probabilities and requests."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dalda.config import AugmentConfig
from dalda.config.roles import content_of, digest_of, names_of
from dalda.datasets.image_folder import refuse_output_inside
from dalda.datasets.registry import load_dataset
from dalda.device import device_named, dtype_named, quiet_libraries
from dalda.errors import UserError
from dalda.generation.backends.checkpoint import GROUP, refuse_misfit
from dalda.generation.plan import generator_fingerprint, make_plan, refuse_incapable
from dalda.generation.source_probabilities import read_probabilities
from dalda.methods.base import Common, Method, Prepared, Tools, method_named, method_options
from dalda.methods.fitting.recipe import MOST_STEPS, FitJob, with_fewer_steps
from dalda.methods.scale_policy import policy_named
from dalda.methods.similarity_curve import SimilarityCurve, load_curve
from dalda.models.fingerprint import contents_of
from dalda.models.preset_options import overridden, with_adapter
from dalda.models.presets import Preset, preset_named
from dalda.plugins import plugins_of
from dalda.types import FewShotSplit, GenerationPlan
from dalda.workflows.captions import captions_for
from dalda.workflows.chosen_classes import chosen_classes, refuse_wrong_classes
from dalda.workflows.real_images import image_features, score_examples, split_of, usable

if TYPE_CHECKING:
    from dalda.generation.backends.base import ImageGenerator
    from dalda.models.clip import Clip

LENGTHS = frozenset({"fit_steps", "epochs"})
"""Options of methods that learn, by which the user says how long a training is."""


def preset_of(config: AugmentConfig) -> Preset:
    """The model's row with what the user overrides. Raises UserError for what does not fit the model."""
    chosen = {name: getattr(config, name) for name in names_of(AugmentConfig, within="preset")}
    model = chosen.pop("model")
    external = model in plugins_of(GROUP)
    row = replace(preset_named("sd15"), model=model, vae=None) if external else preset_named(model)
    preset = overridden(row, chosen.pop("model_option"))
    adapter = chosen.pop("adapter")
    if adapter is not None:
        preset = with_adapter(preset, adapter)
    preset = replace(preset, **{name: value for name, value in chosen.items() if value is not None})
    refuse_misfit(preset)
    return preset


@dataclass
class GeneratorLoader:
    """A generator that is loaded when it is first needed, and then kept. Another process loads its own."""

    build: Callable[[], "ImageGenerator"]
    generator: "ImageGenerator | None" = None

    def load(self) -> "ImageGenerator":
        """The generator. Raises UserError if it cannot be loaded."""
        if self.generator is None:
            self.generator = self.build()
        return self.generator

    def __getstate__(self) -> dict[str, Any]:
        return {"build": self.build, "generator": None}


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
    jobs: tuple[FitJob, ...] = ()
    """Trainings that the requests' concepts come from."""

    @property
    def clip(self) -> str:
        """Which CLIP the probabilities are of."""
        return self.contents.get("preset.clip", self.preset.clip)


def plan_augment(
    config: AugmentConfig,
    probabilities: Sequence[float] | float | None = None,
    *,
    generator: "ImageGenerator | None" = None,
    captions: Mapping[str, Sequence[str]] | None = None,
) -> AugmentPlan:
    """Split, captions, CLIP class probabilities and requests; probabilities are computed only if needed.

    One number in `probabilities` is that of all images. Those that the folder was begun with hold, whatever
    `probabilities` says: they decide the requests.
    """
    preset, method = preset_of(config), method_named(config.method)
    loader = GeneratorLoader(
        partial(load_generator, config, preset) if generator is None else partial(_itself, generator)
    )
    options = options_of(config)
    if config.executor == "local" and (config.device != "auto" or config.offload != "none"):
        device_of(config)  # before anything is written; `auto` alone cannot be wrong
    refuse_output_inside(config.out, load_dataset(config.dataset, config.root))
    split, skipped = usable(split_of(config), config.on_bad_image)
    texts = captions_for(
        split, preset.words, config.seed, config.captions if captions is None else captions
    )
    contents = contents_of(config.model, preset)
    fingerprint = None
    if generator is not None or config.model in plugins_of(GROUP):
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
        size=config.size,
        **_sampling(config, preset, options),
    )
    given = None if probabilities is None else sources.probabilities()
    jobs: dict[str, FitJob] = {}

    most = (
        None
        if generator is not None or LENGTHS & options.model_fields_set
        else MOST_STEPS.get(config.model)
    )

    def fit(job: FitJob) -> str:
        if config.dtype == "int8":
            raise UserError(
                f"the method '{method.name}' trains the model, and weights in eight bits do not learn; "
                "choose --dtype bf16"
            )
        job = job if most is None else replace(job, recipe=with_fewer_steps(job.recipe, most))
        jobs[job.key] = job
        return job.key

    curves: list[SimilarityCurve] = []

    def similarity_curve() -> SimilarityCurve:
        curves.append(load_curve(digest))
        return curves[0]

    model = digest_of(fingerprint or _of_weights(generator_fingerprint(preset, contents)))
    tools = Tools(common, sources.probabilities, given, sources.clip_features, fit, model, similarity_curve)
    prepared: Prepared = method.prepare(split, options, tools)
    requests = method.requests(split, texts, prepared, config.seed)
    classes = chosen_classes(config, split, sources.clip_features)
    plan = make_plan((x for x in requests if (x.source_label or x.label) in classes), digest)
    known = None if prepared.probabilities is None else tuple(prepared.probabilities)
    if curves:
        contents |= {"similarity_curve": curves[0].digest}
    return AugmentPlan(
        split,
        preset,
        texts,
        plan,
        method,
        loader,
        skipped,
        known,
        contents,
        fingerprint,
        tuple(jobs.values()),
    )


def _of_weights(fingerprint: Mapping[str, object]) -> dict[str, object]:
    """What decides a training: the weights, and none of the sampler's settings."""
    names = ("model", "variant", "vae", "lora", "lora_scale", "size", "noise_schedule")
    return {name: fingerprint[name] for name in names if name in fingerprint}


def _sampling(config: AugmentConfig, preset: Preset, options: Any) -> dict[str, Any]:
    """Guidance scale and steps: the user's, else the method's own, else the preset's."""
    return {
        name: getattr(preset, name)
        if getattr(config, name) is not None or getattr(options, name, None) is None
        else getattr(options, name)
        for name in ("guidance_scale", "steps")
    }


def shared_options() -> set[str]:
    """Options of the default method that have an option of `dalda augment` of their own."""
    return AugmentConfig.model_fields.keys() & method_named("dalda").Options.model_fields.keys()


def refuse_wrong_options(config: AugmentConfig) -> None:
    """Raises UserError for options of the method that are wrong: before the work."""
    policy_named(config.ip_adapter_scale, config.scale_sampling)
    options_of(config)


def refuse_early(config: AugmentConfig, split: FewShotSplit, words: str) -> None:
    """Raises UserError for what a run refuses, as far as that is known without its model."""
    refuse_output_inside(config.out, load_dataset(config.dataset, config.root))
    refuse_wrong_options(config)
    refuse_wrong_classes(config, split)
    captions_for(split, words, config.seed, config.captions)


def options_of(config: AugmentConfig) -> Any:
    """The method's options, `--method-option` last. Raises UserError for those that it does not have."""
    chosen = content_of(config)
    shared = {name: chosen[name] for name in shared_options() & chosen.keys()}
    return method_options(method_named(config.method), shared | config.method_option)


@dataclass(frozen=True)
class _Sources:
    """CLIP class probabilities of the source images: from the folder, as given, or computed."""

    config: AugmentConfig
    preset: Preset
    clip: str
    split: FewShotSplit
    given: Sequence[float] | float | None

    def probabilities(self) -> tuple[float, ...]:
        keys = [(image.label, image.sha256) for image in self.split.images]
        given = [self.given] * len(keys) if isinstance(self.given, int | float) else self.given
        found = dict(zip(keys, given, strict=True)) if given is not None else {}
        found |= read_probabilities(
            self.config.out, self.clip, without_images=self.config.shard is not None
        )
        unknown = tuple(
            image for image, key in zip(self.split.images, keys, strict=True) if key not in found
        )
        if unknown:
            values = score_examples(replace(self.split, images=unknown), self.clip_model())
            found |= {
                (image.label, image.sha256): value for image, value in zip(unknown, values, strict=True)
            }
        return tuple(found[key] for key in keys)

    def clip_features(self) -> NDArray[np.float32]:
        """CLIP features of the split's images, [images, d]."""
        return image_features(self.split, self.clip_model())

    def clip_model(self) -> "Clip":
        from dalda.models.clip import load_clip

        return load_clip(self.preset.clip, device_named(self.config.device))


def _itself(generator: "ImageGenerator") -> "ImageGenerator":
    return generator


def device_of(config: AugmentConfig) -> str:
    """The device to generate on. Raises UserError for a missing one, and for one without offloading."""
    device = device_named(config.device)
    if config.offload != "none" and not device.startswith("cuda"):
        raise UserError(
            f"--offload {config.offload} frees a GPU's memory, and '{device}' is none; leave it out"
        )
    return device


def load_generator(config: AugmentConfig, preset: Preset) -> "ImageGenerator":
    """The preset's model; `auto` is half precision on a GPU and single precision elsewhere."""
    quiet_libraries(diffusers=True)
    from dalda.generation.backends.base import GeneratorSpec

    device = device_of(config)
    # The text encoders of flow-matching models overflow in fp16.
    dtype = dtype_named(config.dtype, device, "bf16" if preset.scheduler == "flow-euler" else "fp16")
    return GeneratorSpec(preset, device, dtype, config.channels_last, config.compile, config.offload).load()
