"""What a training on doodles costs and learns: as published, and as short as the model allows.

    python benchmarks/trainings.py [--method da-fusion|diff-mix] [--classes boat,butterfly] [--published]

Prints the seconds of processor time, and the loss on fixed noise: of the training images, and of other
images of their classes, before and after. `word` is the loss with the class's name in the token's place.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dalda.config import AugmentConfig
from dalda.datasets.image_io import open_source
from dalda.generation.backends.trainable import trainable_model
from dalda.methods.fitting.recipe import FitJob
from dalda.methods.fitting.trainer import Training
from dalda.models.adaptation import TrainableModel, embed_prompts
from dalda.models.concepts import PLACEHOLDER
from dalda.types import RealImage
from dalda.workflows.augment_plan import plan_augment
from dalda.workflows.real_images import split_of

OTHERS = 8
"""Images of a class that were not trained on."""
TIMES = range(60, 1000, 117)
PUBLISHED = {"da-fusion": 1000, "diff-mix": 35_000}


def opened(image: RealImage) -> Any:
    return open_source(image.path, image.sha256)


def loss_of(
    model: TrainableModel, training: Training | None, images: list[RealImage], number: int
) -> float:
    """Mean squared error on the same noise each time; without a training, of the class's word."""
    noise = torch.Generator().manual_seed(0)
    token = None if training is None else training.parameters[f"token.{number}"]
    prompt = f"a photo of a {images[0].label if token is None else PLACEHOLDER}"
    losses = []
    with torch.no_grad(), model.layers.applied([(None, training.parameters, 1.0)] if training else []):
        clean = torch.cat([model.encode_image(x.sha256, opened(x), noise).float() for x in images])
        text = embed_prompts(
            model.tokenizer, model.text_encoder, [prompt] * len(clean), [token] * len(clean)
        )
        for time_ in TIMES:
            epsilon = torch.randn(clean.shape, generator=noise)
            share = model.alphas_cumprod[time_]
            noisy = share.sqrt() * clean + (1 - share).sqrt() * epsilon
            velocity = share.sqrt() * epsilon - (1 - share).sqrt() * clean
            predicted = model.predict(noisy, torch.full((len(clean),), time_), text)
            losses.append(float((predicted - velocity).square().mean()))
    return float(np.mean(losses))


def measured(
    job: FitJob, model: TrainableModel, classes: list[str], others: list[RealImage]
) -> dict[str, Any]:
    """The training of a job, and its losses over some of its classes."""
    names = [name for name, _ in job.wordings]

    def losses(training: Training | None) -> list[float]:
        found = []
        for images in (job.images, others):
            of_class = {name: [x for x in images if x.label == name][:OTHERS] for name in classes}
            numbers = [loss_of(model, training, own, names.index(name)) for name, own in of_class.items()]
            found.append(round(float(np.mean(numbers)), 4))
        return found

    training = Training.begin(job, model)
    word, start, before = losses(None), losses(training), time.process_time()
    while training.step < job.recipe.steps:
        training.advance(opened)
    seconds = round(time.process_time() - before, 1)
    return {
        "classes": classes,
        "steps": job.recipe.steps,
        "token_rate": round(job.recipe.token_rate, 5),
        "seconds": seconds,
        "loss_word": word,
        "loss_start": start,
        "loss_end": losses(training),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--method", choices=PUBLISHED, default="da-fusion")
    parser.add_argument("--classes", default="boat,butterfly")
    parser.add_argument("--published", action="store_true", help="as many steps as published")
    options = parser.parse_args()
    steps = {"fit_steps": PUBLISHED[options.method]} if options.published else {}
    config = AugmentConfig(
        dataset="doodles",
        out=Path("none"),
        method=options.method,
        shots=2,
        per_image=1,
        method_option=steps,
    )
    planned = plan_augment(config)
    model = trainable_model(planned.loader.load())
    trained = {image.sha256 for image in planned.split.images}
    every = split_of(config.model_copy(update={"shots": None})).images
    others = [image for image in every if image.sha256 not in trained]
    classes = options.classes.split(",")
    found = [
        measured(job, model, own, others)
        for job in planned.jobs
        if (own := [name for name in classes if name in dict(job.wordings)])
    ]
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
