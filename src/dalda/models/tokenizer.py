"""How long a prompt is to a preset's text encoder."""

from collections.abc import Callable

from dalda.device import quiet_libraries
from dalda.models.presets import Preset

BYTES = 256
"""Every CLIP vocabulary has more entries: it begins with one for each byte."""


def token_counter(preset: Preset) -> Callable[[str], int] | None:
    """Counts a text as the preset's text encoder does; None where its tokenizer is not on disk."""
    quiet_libraries()
    from transformers import CLIPTokenizer

    from dalda.models.hub import place_of
    from dalda.models.weights import load_settings

    place = place_of(preset.model)
    try:
        tokenizer = load_settings(
            CLIPTokenizer,
            place.name,
            subfolder="tokenizer",
            revision=place.revision,
            local_files_only=True,
        )
    except (OSError, ValueError):
        return None
    # Where there is nothing, transformers 5 raises nothing: it gives a tokenizer of two special tokens,
    # which would count letters.
    if len(tokenizer) <= BYTES:
        return None
    return lambda text: len(tokenizer(text).input_ids)
