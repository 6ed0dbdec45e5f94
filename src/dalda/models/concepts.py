"""Learned concepts: what a request adds to the model, by the artefacts that hold it."""

import json
from dataclasses import dataclass

PLACEHOLDER = "<concept>"
"""Stands in a prompt where the learned token goes."""


@dataclass(frozen=True)
class Token:
    """A learned token of an artefact, with Gaussian noise on its embedding where there is any."""

    artefact: str
    number: int
    noise: float = 0.0
    """Standard deviation."""
    noise_seed: int = 0


@dataclass(frozen=True)
class Concept:
    """A learned token and LoRAs with their shares, as `GenerationRequest.concept` writes them."""

    token: Token | None = None
    loras: tuple[tuple[str, float], ...] = ()
    """Artefacts, and how much of each is added to the weights."""

    def __str__(self) -> str:
        token = self.token
        named = {} if token is None else {"token": [token.artefact, token.number]}
        if token is not None and token.noise:
            named = {"token": [token.artefact, token.number, token.noise, token.noise_seed]}
        return json.dumps({**named, **({"loras": self.loras} if self.loras else {})})

    @classmethod
    def read(cls, text: str) -> "Concept":
        """The concept that `str` wrote."""
        values = json.loads(text)
        token = Token(*values["token"]) if "token" in values else None
        return cls(token, tuple((str(key), float(share)) for key, share in values.get("loras", ())))
