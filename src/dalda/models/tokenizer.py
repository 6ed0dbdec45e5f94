"""How long a prompt is to a preset's text encoder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from dalda.device import quiet_libraries
from dalda.models.hub import folder_on_disk, place_of
from dalda.models.presets import Preset, pipeline_class_in
from dalda.models.weights import load_settings

BYTES = 256
"""Every CLIP vocabulary has more entries: it begins with one for each byte."""


class TextLimit(NamedTuple):
    """What a model's text encoder reads, begin and end included; the rest of a prompt is cut."""

    tokens: int
    folder: str = "tokenizer"
    """Of the tokenizer that has this limit."""


CLIP_LIMIT = TextLimit(77)
KOLORS_LIMIT = TextLimit(256)
TEXT_LIMITS = {
    "KolorsPipeline": KOLORS_LIMIT,
    "StableDiffusion3Pipeline": TextLimit(256, "tokenizer_3"),
    "FluxPipeline": TextLimit(512, "tokenizer_2"),
    "ChromaPipeline": TextLimit(512),
    "Flux2KleinPipeline": TextLimit(512),
    "ZImagePipeline": TextLimit(512),
    "QwenImagePipeline": TextLimit(512),
    "SanaSprintPipeline": TextLimit(300),
}
"""By pipeline class; of all others CLIP's."""


def text_limit(preset: Preset) -> TextLimit:
    """The limit of a preset whose model is on disk; CLIP's for any other."""
    folder = folder_on_disk(preset.model)
    return TEXT_LIMITS.get(pipeline_class_in(Path(folder)), CLIP_LIMIT) if folder else CLIP_LIMIT


def token_counter(preset: Preset) -> Callable[[str], int] | None:
    """Counts a text as the preset's text encoder does; None where its tokenizer is not on disk."""
    quiet_libraries()
    from transformers import AutoTokenizer, CLIPTokenizer

    place, limit = place_of(preset.model), text_limit(preset)
    kind: Any = CLIPTokenizer if limit == CLIP_LIMIT else AutoTokenizer
    if limit == KOLORS_LIMIT:
        from diffusers.pipelines.kolors import ChatGLMTokenizer

        kind = ChatGLMTokenizer
    try:
        tokenizer = load_settings(
            kind,
            place.name,
            subfolder=limit.folder,
            revision=place.revision,
            local_files_only=True,
        )
    except (OSError, ValueError):
        return None
    # Where there is nothing, transformers 5 raises nothing: it gives a tokenizer of two special tokens,
    # which would count letters.
    if limit == CLIP_LIMIT and len(tokenizer) <= BYTES:
        return None
    return lambda text: len(tokenizer(text).input_ids)
