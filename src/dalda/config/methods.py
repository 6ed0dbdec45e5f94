"""The augmentation methods by name, of this package and of others; none is imported here."""

from dalda.plugins import plugins_of

GROUP = "dalda.methods"
"""The entry point group in which other packages name theirs."""
METHODS = {
    "dalda": "dalda.methods.dalda:Dalda",
    "text": "dalda.methods.text:Text",
    "image-variation": "dalda.methods.image_variation:ImageVariation",
    "real-guidance": "dalda.methods.real_guidance:RealGuidance",
    "dipsy": "dalda.methods.dipsy:Dipsy",
    "diffusemix": "dalda.methods.diffusemix:DiffuseMix",
    "da-fusion": "dalda.methods.da_fusion:DaFusion",
    "diagen": "dalda.methods.diagen:Diagen",
    "diff-mix": "dalda.methods.diff_mix:DiffMix",
    "diff-aug": "dalda.methods.diff_mix:DiffAug",
    "datadream": "dalda.methods.datadream:DataDream",
}


def method_names() -> tuple[str, ...]:
    """All methods that `--method` finds."""
    return (*METHODS, *(name for name in plugins_of(GROUP) if name not in METHODS))
