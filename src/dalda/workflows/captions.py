"""From class names to captions."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dalda.captions.caption_file import checked_captions, read_captions
from dalda.captions.templates import template_captions
from dalda.captions.validation import Rules
from dalda.captions.vocabulary import VOCABULARIES
from dalda.config import CaptionConfig
from dalda.datasets.class_names import class_wordings, wordings_of
from dalda.datasets.image_folder import refuse_output_inside
from dalda.datasets.registry import DATASETS, PHOTOS, load_dataset
from dalda.errors import UserError
from dalda.models.presets import preset_named
from dalda.models.tokenizer import token_counter
from dalda.storage import read_text
from dalda.types import FewShotSplit

if TYPE_CHECKING:
    from dalda.captions.generate import CaptionReport
    from dalda.captions.llm import LanguageModel

CAPTIONS_PER_CLASS = 10


def write_captions(config: CaptionConfig, llm: "LanguageModel | None" = None) -> "CaptionReport":
    """Captions for every class of a data set or of a list, from templates or a language model.

    `llm` is a language model of your own, in place of `config.llm`. Raises UserError for what is missing or
    contradictory in the configuration.
    """
    from dalda.captions.generate import TEMPLATES, generate_captions
    from dalda.captions.instructions import prompt_texts

    preset = preset_named(config.model)
    dataset, (classes, names) = config.dataset or "", classes_in(config)
    is_template = llm is None and config.llm == TEMPLATES
    if config.dataset is not None and not is_template:
        # The folder of answers beside the captions would be a class.
        refuse_output_inside(config.out, load_dataset(config.dataset, config.root))
    texts = prompt_texts(config.prompt_style, [read_text(path) for path in config.prompt_file])
    if is_template and texts != prompt_texts():
        raise UserError("templates ask no language model; name one with --llm, or leave --prompt-... out")
    return generate_captions(
        classes,
        config.out,
        llm=llm or config.llm,
        base_url=config.base_url,
        per_class=config.per_class,
        domain=config.domain,
        dataset=dataset,
        names=names,
        words=VOCABULARIES[DATASETS.get(dataset, PHOTOS).vocabulary],
        seed=config.seed,
        concurrency=config.concurrency,
        max_tokens_total=config.max_tokens_total,
        prefix=preset.prompt_prefix,
        count_tokens=None if is_template else token_counter(preset),
        texts=texts,
    )


def classes_in(config: CaptionConfig) -> tuple[tuple[str, ...], dict[str, str]]:
    """The classes of the data set, or the lines of the list, and their wordings.

    Raises UserError for neither or both.
    """
    if (config.dataset is None) == (config.classes is None):
        raise UserError("name either a data set or a list of classes with --classes, one of the two")
    if config.dataset is not None:
        data = load_dataset(config.dataset, config.root)
        return data.classes, wordings_of(data.dataset, data.classes, data.root)
    assert config.classes is not None
    lines = read_text(config.classes).splitlines()
    classes = tuple(line.strip() for line in lines if line.strip())
    return classes, wordings_of("", classes)


def captions_for(
    split: FewShotSplit,
    words: str,
    seed: int,
    captions: Path | Mapping[str, Sequence[str]] | None = None,
) -> dict[str, list[str]]:
    """Captions per class: the user's own, from a file or as they are, or else from templates."""
    names = class_wordings(split)
    if isinstance(captions, Mapping):
        return checked_captions(captions, split.classes, "captions", names)
    if captions is not None:
        return read_captions(captions, split.classes, names)
    return template_captions(Rules(split.classes, names), CAPTIONS_PER_CLASS, seed, VOCABULARIES[words])[0]
