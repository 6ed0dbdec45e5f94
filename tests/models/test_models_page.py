"""docs/models.md lists the presets as they are."""

from pathlib import Path

from dalda.models.presets import PRESETS, SHIPPED, Preset

PAGE = Path(__file__).parents[2] / "docs/models.md"


def cells(name: str, row: Preset) -> list[str]:
    shipped = row.model.startswith(SHIPPED)
    adapter = f"`{row.adapter}`, `{row.adapter_folder}/{row.adapter_file}`"
    return [
        f"`{name}`",
        "the embedded doodle world, shipped" if shipped else f"`{row.model}`",
        f"`{row.vae}`" if row.vae else "its own",
        f"`{row.adapter_file}`" if shipped else adapter if row.adapter else "none",
        str(row.size or 32),
        str(row.steps),
        str(row.guidance_scale),
    ]


def test_the_table_of_presets_is_the_presets() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    table = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")
    ]
    assert table[1 : 1 + len(PRESETS)] == [cells(name, row) for name, row in PRESETS.items()]


def test_every_field_that_the_page_names_is_one() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for name in ("size", "negative_prompt", "clip", "image_encoder", "noise_schedule", "lora_scale"):
        assert f"`{name}`" in page
        assert name in Preset.__dataclass_fields__
