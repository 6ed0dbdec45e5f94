"""The command that makes new images."""

from pathlib import Path
from typing import Annotated

import typer

from dalda.cli.options import (
    DataSet,
    Device,
    Json,
    Root,
    Seed,
    Shots,
    SplitStrategy,
    command,
    config_of,
    show,
    whole_number,
)
from dalda.errors import UserError


@command
def augment(
    dataset: DataSet,
    out: Annotated[Path, typer.Option("-o", "--out", help="Where the synthetic set goes, or goes on.")],
    root: Root = None,
    model: Annotated[
        str, typer.Option(help="doodle, sd14, sd15, sdxl, a diffusers folder or a Hub id.")
    ] = "doodle",
    adapter: Annotated[str | None, typer.Option(help="An IP-Adapter folder or Hub id, with :file.")] = None,
    method: Annotated[str, typer.Option(help="How images are made: dalda.")] = "dalda",
    captions: Annotated[
        Path | None, typer.Option(help="A caption file; without one the grammar writes.")
    ] = None,
    ip_adapter_scale: Annotated[
        str, typer.Option(help="lambda: adaptive, uniform, or a number from 0 to 1.")
    ] = "adaptive",
    scale_sampling: Annotated[
        str, typer.Option(help="How adaptive draws: truncated or clipped.")
    ] = "truncated",
    per_image: Annotated[int, typer.Option(help="New images per example.")] = 10,
    shots: Shots = None,
    seed: Seed = 0,
    split_strategy: SplitStrategy = "original",
    guidance_scale: Annotated[float | None, typer.Option(help="Classifier-free guidance.")] = None,
    guidance_interval: Annotated[
        str | None, typer.Option(help="The part of the steps that is guided, such as 0.2:0.8.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="ddim, dpm-solver++, unipc or lcm.")] = None,
    lora: Annotated[str | None, typer.Option(help="A LoRA folder or Hub id, with :file.")] = None,
    vae: Annotated[str | None, typer.Option(help="An autoencoder, such as madebyollin/taesd.")] = None,
    model_option: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Any other field of the model's preset.")
    ] = None,
    dtype: Annotated[str, typer.Option(help="auto, fp32, fp16 or bf16.")] = "auto",
    channels_last: Annotated[
        bool, typer.Option("--channels-last", help="Keep the channels of a pixel together.")
    ] = False,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Compile the model's blocks before the first image.")
    ] = False,
    batch_size: Annotated[str, typer.Option(help="Images rendered together, a number or auto.")] = "auto",
    image_format: Annotated[str, typer.Option("--format", help="png, webp or jpeg.")] = "png",
    on_bad_image: Annotated[
        str, typer.Option(help="A broken or too small image in the data set: stop, or skip it.")
    ] = "stop",
    device: Device = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and render nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Make new images from each example; run again to go on where it stopped."""
    from dalda.config import AugmentConfig
    from dalda.workflows import augment as synthetic

    config = config_of(
        AugmentConfig,
        **{
            "dataset": dataset,
            "out": out,
            "root": root,
            "model": model,
            "adapter": adapter,
            "method": method,
        },
        **{
            "captions": captions,
            "ip_adapter_scale": ip_adapter_scale,
            "scale_sampling": scale_sampling,
            "per_image": per_image,
        },
        **{
            "shots": whole_number("--shots", shots, "all"),
            "seed": seed,
            "split_strategy": split_strategy,
            "device": device,
        },
        **{"guidance_scale": guidance_scale, "guidance_interval": guidance_interval, "steps": steps},
        **{"scheduler": scheduler, "lora": lora, "vae": vae, "model_option": _fields(model_option or [])},
        **{"dtype": dtype, "channels_last": channels_last, "compile": compiled},
        **{"format": image_format, "on_bad_image": on_bad_image},
        batch_size=whole_number("--batch-size", batch_size, "auto"),
    )
    report = synthetic.dry_run(config) if dry_run else synthetic.augment(config)
    show(as_json, report.as_json(), report.lines())


def _fields(written: list[str]) -> dict[str, str]:
    """NAME=VALUE, as often as the user writes it."""
    wrong = [one for one in written if "=" not in one]
    if wrong:
        raise UserError(f"--model-option cannot be '{wrong[0]}'; write NAME=VALUE, such as size=768")
    return {name: value for name, _, value in (one.partition("=") for one in written)}
