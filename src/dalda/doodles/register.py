"""Adds the embedded world to the tables: its data sets, its models, its word list."""

from dalda.captions.vocabulary import VOCABULARIES, Vocabulary
from dalda.datasets.image_folder import ImageDataset, read_folder
from dalda.datasets.registry import DATASETS, DatasetRow
from dalda.doodles.vocabulary import BACKGROUNDS, COLOURS, FACINGS
from dalda.evaluation.backbones.table import ROWS, Row
from dalda.generation.backends.autoencoders import AUTOENCODERS
from dalda.methods.fitting.recipe import MOST_STEPS
from dalda.models.presets import PRESETS, SHIPPED, Preset

WEIGHTS = SHIPPED + "doodles/weights/"
VOCABULARY = Vocabulary(
    colours=tuple(COLOURS),
    actions=("",),
    backgrounds=tuple(BACKGROUNDS.values()),
    surroundings=("",),
    lights=("",),
    views=("", "", *(f"seen from the {facing}" for facing in FACINGS)),
)
"""The words that the text encoder has tokens for."""


def _row(name: str) -> DatasetRow:
    def read() -> ImageDataset:
        from dalda.doodles.dataset import default_root, draw_dataset

        return read_folder(draw_dataset(default_root(name), name), name, halved=True)

    models = frozenset({"doodle", "doodle-vision"})
    return DatasetRow(read, backbone="doodle-vision", clip="doodle", vocabulary="doodles", models=models)


for _name in ("doodles", "doodles-iid"):
    DATASETS.register(_name, _row(_name))
VOCABULARIES.register("doodles", VOCABULARY)
AUTOENCODERS.register("PatchAutoencoder", "dalda.doodles.patch_autoencoder:PatchAutoencoder")
ROWS.register("doodle", Row(WEIGHTS + "clip", reads_text=True))
ROWS.register("doodle-vision", Row(WEIGHTS + "vision"))
PRESETS.register(
    "doodle",
    Preset(
        model=WEIGHTS + "model",
        adapter=WEIGHTS + "ip_adapter",
        adapter_folder="models",
        adapter_file="ip-adapter_doodle.safetensors",
        image_encoder="models/image_encoder",
        clip=WEIGHTS + "clip",
        prompt_prefix="",
        negative_prompt="",
        guidance_scale=3.0,
        steps=12,
        words="doodles",
    ),
)
MOST_STEPS.register("doodle", 100)
