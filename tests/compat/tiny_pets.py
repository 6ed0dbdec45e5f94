"""A tiny Oxford-IIIT Pet tree of drawn images, and configuration files as users of the original code
have."""

import json
from pathlib import Path

from PIL import Image

from dalda.datasets.class_names import published_classes
from dalda.doodles.draw import draw_doodle, random_doodle
from dalda.doodles.vocabulary import CLASSES
from dalda.seeding import generator_of

CONFIGS = {
    "cfg_real": ("None", "base", '"adaptive"'),
    "cfg_dalda_pets_base_prompt_all_scaling": ('"dalda"', "base", '"all_random"'),
    "cfg_dalda_pets_base_prompt_fixed_scaling": ('"dalda"', "base", "0.5"),
    "cfg_dalda_pets_llm_prompt_adaptive_scaling_clip": ('"dalda"', "llm", '"adaptive"'),
}
"""Name of the file to aug, prompt_mode and scale."""


def make_tiny_pets(root: Path, per_class: int = 2) -> Path:
    """All classes, `per_class` listed images a part: as many doodles, of which half are few shots."""
    (root / "annotations").mkdir(parents=True)
    (root / "images").mkdir()
    for part, name in (("trainval", "trainval.txt"), ("test", "test.txt")):
        lines = ["#Image CLASS-ID SPECIES BREED ID"]
        for index, label in enumerate(published_classes("pets")):
            for number in range(per_class):
                stem = f"{label.replace(' ', '_')}_{part}_{number}"
                rng = generator_of(0, "tiny pets", part, label, number)
                shown = draw_doodle(random_doodle(rng, CLASSES[index % len(CLASSES)]), rng)
                Image.fromarray(shown).save(root / "images" / f"{stem}.jpg", quality=95)
                lines.append(f"{stem} {index + 1} 1 1")
        (root / "annotations" / name).write_text("\n".join(lines) + "\n")
    return root


def write_captions(path: Path) -> Path:
    """What a language model might have written, in the original code's format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    captions = {
        name: [f"a {name} at night", f"a {name} seen from afar"] for name in published_classes("pets")
    }
    path.write_text(json.dumps(captions))
    return path


def write_reference_config(
    folder: Path, name: str, *, shots: str = "[1]", trials: int = 1, more: str = ""
) -> Path:
    """A file with the original code's fields, its f-strings and its concatenated strings."""
    aug, mode, scale = CONFIGS[name]
    path = folder / f"{name}.py"
    path.write_text(
        f'''# Settings of one experiment
EXP_NAME = "{name.removeprefix("cfg_")}"
model_path = "doodle"
dataset = "pets"  # pets | flowers | caltech
logdir = f"logs/{{EXP_NAME}}"
synthetic_dir = f"synthetic/{{EXP_NAME}}" + "/{{dataset}}-{{seed}}-{{examples_per_class}}"

prompt_mode = "{mode}"
llm_prompt_path = f"prompts/{{dataset}}" + "_llm.json"

synthetic_probability = 0.5
guidance_scale = 7.5
num_synthetic = 1
num_trials = {trials}
examples_per_class = {shots}
image_size = 512
classifier_backbone = "clip"
iterations_per_epoch = 3
num_epochs = 2
batch_size = 4
num_workers = 4
device = "cuda"
aug = {aug}
scale = {scale}
num_inference_steps = 1
resume = [None, None, None, None]
{more}'''
    )
    return path


PUBLISHED = {
    f"cfg_dalda_pets_{prompt}_prompt_{scaling}_scaling_clip": (prompt, scaling)
    for prompt in ("base", "llm")
    for scaling in ("adaptive", "random")
}
"""The four published files; the "random" ones say adaptive, too."""


def write_published_tree(folder: Path) -> Path:
    """The folder that the original README leaves behind, with a tiny data set, model and schedule."""
    make_tiny_pets(folder / "datasets/oxford_pet")
    (folder / "configs").mkdir()
    for name, (prompt, _) in PUBLISHED.items():
        captions = '"prompt_by_LLM/llm_prompt_pets_10.json"' if prompt == "llm" else "None"
        exp_name = name.removeprefix("cfg_").replace("_", "-")
        (folder / f"configs/{name}.py").write_text(
            f'''EXP_NAME = "{exp_name}"

model_path = "doodle"

dataset = "pets"

logdir = f"{{dataset}}-baselines/{{EXP_NAME}}"
synthetic_dir = f"aug/{{EXP_NAME}}" + "/{{dataset}}-{{seed}}-{{examples_per_class}}"

prompt_mode = "{prompt}" # Options : ["llm", "base"]
llm_prompt_path = {captions} # Only for LLM prompt mode

synthetic_probability = 0.5
guidance_scale = 7.5
num_synthetic = 1
num_trials = 1
examples_per_class = [1]

image_size = 224
classifier_backbone = "clip"
iterations_per_epoch = 3
num_epochs = 2
batch_size = 4
num_workers = 12
device = 'cuda:0' # Default : 'cuda:0'

aug = "dalda"

scale = "adaptive" # Options : ["all_random", "adaptive", 0.1, 0.2, ..., 1.0]
num_inference_steps = 1

resume = [None, None, None, None] # Default : [None, None, None, None]'''
        )
    return folder
