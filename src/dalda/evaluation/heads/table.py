"""The heads by name, and the one that fits a backbone."""

from dalda.errors import UserError
from dalda.evaluation.backbones.base import FeatureExtractor, ZeroShot
from dalda.evaluation.heads import constrained, cross_validated, lpp, tip_adapter, zero_shot
from dalda.evaluation.heads.base import HeadKind
from dalda.registry import Registry
from dalda.types import ZERO_SHOT

LINEAR = "linear"
HEADS: Registry[HeadKind] = Registry(
    {
        "constrained": constrained.KIND,
        "tip-adapter": tip_adapter.KIND,
        "lp++": lpp.KIND,
        "cross-validated": cross_validated.KIND,
        ZERO_SHOT: zero_shot.KIND,
    }
)
"""Heads on cached features; beside them there is `linear`, which is trained by steps."""


def default_head(backbone: FeatureExtractor) -> str:
    """`constrained` for a backbone that reads class names, else `cross-validated`."""
    return "constrained" if isinstance(backbone, ZeroShot) else "cross-validated"


def head_named(name: str, backbone: FeatureExtractor) -> HeadKind:
    """A head on cached features. Raises UserError where it needs a backbone that reads class names."""
    head = HEADS[name]
    if head.needs_text and not isinstance(backbone, ZeroShot):
        raise UserError(
            f"the head {name} needs a backbone that reads class names, which {backbone.name!r} does not; "
            "use --head cross-validated"
        )
    return head


def resolved_head(name: str, *, stepwise: bool, backbone: FeatureExtractor) -> str:
    """What `auto` is: `linear` with an option of its schedule, else the backbone's."""
    if name != "auto":
        if name != LINEAR:
            head_named(name, backbone)
        return name
    return LINEAR if stepwise else default_head(backbone)
