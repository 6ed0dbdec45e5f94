"""The kinds of autoencoder, by the class name in their settings."""

from collections.abc import Callable
from typing import Any

from dalda.registry import Registry


def _kl() -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL


def _tiny() -> Any:
    from diffusers import AutoencoderTiny

    return AutoencoderTiny


AUTOENCODERS: Registry[Callable[[], Any]] = Registry({"AutoencoderKL": _kl, "AutoencoderTiny": _tiny})
"""Class name to a function that imports the class, which is slow."""
