"""Image variation: the image prompt alone, the baseline with the most fidelity."""

from collections.abc import Iterator

from dalda.methods.base import Captions, Method, Prepared, requests_per_image
from dalda.types import Capability, FewShotSplit, GenerationRequest


class ImageVariation(Method):
    """An IP-Adapter scale of 1 and an empty caption (IP-Adapter, arXiv 2308.06721)."""

    name = "image-variation"
    paper = "arXiv 2308.06721"
    needs = frozenset({Capability.IMAGE_PROMPT})

    def requests(
        self, split: FewShotSplit, captions: Captions, prepared: Prepared, seed: int
    ) -> Iterator[GenerationRequest]:
        return requests_per_image(
            split, None, prepared, seed, lambda source, generator: {"ip_adapter_scale": 1.0}
        )
