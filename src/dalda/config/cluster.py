"""Where a command's work is done."""

from typing import Literal

from dalda.config.data import Strict
from dalda.config.roles import Execution, Location


class ClusterConfig(Strict):
    """This machine, or a Ray cluster."""

    executor: Literal["local", "ray"] = Execution("local")
    """Where the work is done: on this machine, or on a Ray cluster (docs/scale.md)."""
    gpus_per_worker: float | None = Execution(None, ge=0)
    """GPUs of each ray worker; without it 1 if the cluster has any."""
    ray_address: str | None = Location(None)
    """The Ray cluster: auto, HOST:PORT or ray://HOST:PORT; without it one is started on this machine."""
