"""obstore as a file system of fsspec, with puts that create an object or fail."""

import os
from typing import Any, Literal

from obstore.exceptions import AlreadyExistsError
from obstore.fsspec import FsspecStore

from dalda.storage.object_store import CLIENT, RETRIES

ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")


class _Store(FsspecStore):
    async def _pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        bucket, name = self._split_path(path)
        try:
            await self._construct_store(bucket).put_async(
                name, value, mode="create" if mode == "create" else "overwrite"
            )
        except AlreadyExistsError:
            raise FileExistsError(path) from None


def client(scheme: Literal["s3", "gs", "az"]) -> FsspecStore:
    """Keys and addresses come from the environment, as the provider's own programs read them."""
    plain = any(os.environ.get(name, "").startswith("http://") for name in ENDPOINTS)
    options: dict[str, Any] = {"client_options": {**CLIENT, "allow_http": plain}, "retry_config": RETRIES}
    kind: Any = _Store  # its types list every provider's settings, and none of fsspec's
    # fsspec would give a client of an earlier environment.
    store: FsspecStore = kind(scheme, skip_instance_cache=True, **options)
    return store
