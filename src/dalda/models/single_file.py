"""A model in one file, as most sites other than the Hub have it: which kind it is."""

from pathlib import Path

from dalda.errors import UserError
from dalda.models.weights import tensor_shapes

SINGLE_FILES = frozenset({".safetensors", ".ckpt", ".pt", ".pth", ".bin"})
"""What checkpoints of a model in one file are called."""
UNET = "model.diffusion_model.input_blocks.0.0.weight"
TEXT_ENCODERS = {
    "StableDiffusionXLPipeline": "conditioner.embedders.1.model.",
    "StableDiffusionPipeline": "cond_stage_model.transformer.",
}
"""Pipeline class -> how the names of its text encoder's tensors begin."""
OTHER_TRAINING = frozenset({"v_pred", "edm_mean"})
"""Marks of models that do not predict the noise, as those that the settings are of do."""


def class_of_file(path: Path) -> str:
    """The pipeline class of a checkpoint, from its tensors' names: Stable Diffusion 1.x or XL.

    Raises UserError for a file that is not there, for a pickled one and for another model.
    """
    if not path.is_file():
        raise UserError(f"there is no file '{path}'; name a checkpoint, a diffusers folder or a Hub id")
    if path.suffix != ".safetensors":
        raise UserError(
            f"'{path}' is a pickled checkpoint, which could run code; a model in one file must be a "
            ".safetensors file: take that form of it"
        )
    names = tensor_shapes(path, "the checkpoint")
    if UNET in names:
        for kind, prefix in TEXT_ENCODERS.items():
            if any(name.startswith(prefix) for name in names):
                return kind
    raise UserError(
        f"the file '{path}' is no whole checkpoint of Stable Diffusion 1.x or XL (UNet and text encoders); "
        "name one, or a diffusers folder"
    )


def predicts_noise(path: Path) -> bool:
    return not OTHER_TRAINING & tensor_shapes(path, "the checkpoint").keys()
