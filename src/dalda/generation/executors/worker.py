"""A worker of several, in a process or a Ray actor: it loads the generator once and generates batches."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from dalda.device import free_memory, is_out_of_memory
from dalda.errors import UserError, first_line
from dalda.generation.backends.base import (
    ImageGenerator,
    TunableGenerator,
    execution_of,
    generate_from,
)
from dalda.generation.executors.base import Batch, LoadsGenerator
from dalda.generation.executors.local import LocalExecutor, read_sources
from dalda.generation.image_encoding import EncodedImage
from dalda.types import GenerationRequest

Store = Callable[[Sequence[tuple[GenerationRequest, EncodedImage]]], Sequence[EncodedImage]]
"""Keeps images as their requests' files, and returns them without their bytes; picklable."""
DIED = "its worker died"
"""Why a batch has no images that was there whenever its worker died."""
PATIENCE = 1800.0
"""Seconds that a batch may take, the loading of the model included."""


@dataclass(frozen=True)
class Outcome:
    """What a worker makes of a batch."""

    images: Sequence[EncodedImage] = ()
    execution: Mapping[str, object] = field(default_factory=dict)
    error: str | None = None
    """A sentence for the user: nothing else can be generated either."""


@dataclass
class Worker:
    """Picklable until it has loaded its generator, which it does at the first batch."""

    spec: LoadsGenerator
    local: LocalExecutor
    check: Callable[[ImageGenerator], None]
    """Raises UserError for a generator that cannot do what the requests need."""
    generator: ImageGenerator | None = None
    store: Store | None = None
    """Keeps images from here; without it they are returned."""

    def generate(self, batch: Batch, size: int | None, wanted: Collection[str] = ()) -> Outcome:
        """A whole batch, of a plan in batches of `size`. An exception makes each of its images invalid.

        Valid images of wanted requests, by id, are stored if the worker can.
        """
        try:
            generator = self.load()
            if isinstance(generator, TunableGenerator) and size is not None:
                generator.expect_batches_of(size)
            sources = read_sources(batch, self.local.open_image)
            generated = generate_from(generator, batch, sources)
            images = [self.local.encode(*each) for each in zip(generated, batch, sources, strict=True)]
            return Outcome(self._stored(batch, images, wanted), dict(execution_of(generator)))
        except UserError as error:
            return Outcome(error=str(error))
        except Exception as error:
            if is_out_of_memory(error):
                free_memory()
                return Outcome(
                    error=f"a batch of {len(batch)} images does not fit into a worker's memory; choose a "
                    "smaller --batch-size: what is finished is kept"
                )
            return failed(batch, f"{type(error).__name__}: {first_line(error)}")

    def _stored(
        self, batch: Batch, images: Sequence[EncodedImage], wanted: Collection[str]
    ) -> Sequence[EncodedImage]:
        if self.store is None:
            return images
        valid = [place for place, image in enumerate(images) if image.invalid is None]
        kept = [place for place in valid if batch[place].id in wanted]
        stored = dict(zip(kept, self.store([(batch[place], images[place]) for place in kept]), strict=True))
        return [stored.get(place, image) for place, image in enumerate(images)]

    def batch_size(self, batch: Batch) -> int:
        """As many images as the generator takes together. Raises UserError if it cannot be loaded."""
        return self.local.batch_size(self.load(), batch[0])

    def load(self) -> ImageGenerator:
        if self.generator is None:
            self.generator = self.spec.load()
            self.check(self.generator)
        return self.generator


def failed(batch: Batch, reason: str) -> Outcome:
    """A batch without images: the sink asks for it once more, and then drops its requests."""
    return Outcome([EncodedImage(b"", "", "", reason)] * len(batch))
