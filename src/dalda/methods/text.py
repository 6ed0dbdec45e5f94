"""Text only: captions without an image prompt, the baseline with the most diversity."""

from collections.abc import Iterator

from dalda.methods.base import Captions, Method, Prepared, requests_per_image
from dalda.types import FewShotSplit, GenerationRequest


class Text(Method):
    """Text-to-image from the captions alone; the IP-Adapter scale is 0."""

    name = "text"

    def requests(
        self, split: FewShotSplit, captions: Captions, prepared: Prepared, seed: int
    ) -> Iterator[GenerationRequest]:
        return requests_per_image(split, captions, prepared, seed)
