"""Keys and addresses of hosted models, from the environment or a file `.env`; never shown."""

from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from dalda.errors import UserError


class Keys(BaseSettings):
    """The names that the SDK and the original code use; an empty value counts as none."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", env_ignore_empty=True)

    openai_api_key: SecretStr | None = None
    azure_endpoint: str | None = None
    azure_api_key: SecretStr | None = None
    azure_api_version: str | None = None
    azure_model: str | None = None


def read_keys() -> Keys:
    """Raises UserError when `.env` cannot be read, without a word of what stands in it."""
    try:
        return Keys()
    except (OSError, UnicodeDecodeError, ValidationError):
        raise UserError(
            "the file .env in this folder cannot be read as lines NAME=VALUE in UTF-8."
        ) from None
