"""The kinds of autoencoder, by the class name in their settings."""

from dalda.registry import Registry

AUTOENCODERS: Registry[str] = Registry(
    {"AutoencoderKL": "diffusers:AutoencoderKL", "AutoencoderTiny": "diffusers:AutoencoderTiny"}
)
"""Class name to the class's `module:name`, which is slow to import."""
