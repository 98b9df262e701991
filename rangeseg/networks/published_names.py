"""Parameter names of the public repositories: regular expressions and their replacements, in order.

The replacement in a row is a template of `re.sub`, or, if a number changes, a function of the match.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from torch import nn

from rangeseg.networks.cenet import CENet
from rangeseg.networks.fidnet import FIDNet
from rangeseg.networks.rangenet import RangeNet
from rangeseg.networks.salsanext import SalsaNext
from rangeseg.networks.squeezeseg import SqueezeSegV2

Renames = tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]


def counted(prefix: str, start: int = 1, rest: str = "") -> Callable[[re.Match[str]], str]:
    """A replacement: `prefix` ({} is the first group), last group's number - `start` (empty: 0), `rest` and a dot."""
    return lambda match: f"{prefix.format(match[1])}{int(match[match.re.groups] or start) - start}{rest}."


RESIDUAL_STAGES: Renames = (
    (r"^layer(\d)\.", counted("stages.")),
    (r"\.bn(\d?)\.", r".norm\1."),
    (r"\.downsample\.", ".shortcut."),
)

PUBLISHED_NAMES: dict[type[nn.Module], Renames] = {
    CENet: (
        (r"^conv(\d)\.", counted("stem.")),
        (r"^conv_(\d)\.", counted("fuse.")),
        (r"^aux_head(\d)\.", counted("auxiliary.")),
        (r"^semantic_output\.", "classify."),
        *RESIDUAL_STAGES,
    ),
    FIDNet: (
        (r"^backend\.", ""),
        (r"^conv(\d)\.", counted("stem.", rest=".conv")),
        (r"^bn_0\.", "stem.0.norm."),
        (r"^bn\.", "stem.1.norm."),
        (r"^bn_([12])\.", counted("stem.", start=-1, rest=".norm")),
        (r"^semantic_head\.conv_(\d)\.", r"head.conv\1."),
        (r"^semantic_head\.semantic_output\.", "head.classify."),
        (r"^semantic_head\.", "head."),
        *RESIDUAL_STAGES,
    ),
    SalsaNext: (
        (r"^downCntx(\d?)\.", counted("context.")),
        (r"^resBlock(\d)\.", counted("encoder.")),
        (r"^upBlock(\d)\.", counted("decoder.")),
        (r"^logits\.", "classify."),
        (r"^(context|encoder)\.(\d)\.conv1\.", r"\1.\2.shortcut."),
        (r"^(context\.\d)\.conv2\.", r"\1.near.conv."),
        (r"^(context\.\d)\.bn1\.", r"\1.near.norm."),
        (r"^(context\.\d)\.conv3\.", r"\1.far.conv."),
        (r"^(context\.\d)\.bn2\.", r"\1.far.norm."),
        (r"^(encoder\.\d)\.conv5\.", r"\1.branches.join.conv."),
        (r"^(encoder\.\d)\.conv([2-4])\.", counted("{}.branches.reaches.", start=2, rest=".conv")),
        (r"^(encoder\.\d)\.bn4\.", r"\1.branches.join.norm."),
        (r"^(encoder\.\d)\.bn([1-3])\.", counted("{}.branches.reaches.", rest=".norm")),
        (r"^(decoder\.\d)\.conv4\.", r"\1.join.conv."),
        (r"^(decoder\.\d)\.conv([1-3])\.", counted("{}.reaches.", rest=".conv")),
        (r"^(decoder\.\d)\.bn4\.", r"\1.join.norm."),
        (r"^(decoder\.\d)\.bn([1-3])\.", counted("{}.reaches.", rest=".norm")),
    ),
    RangeNet: (
        (r"^backbone\.(conv|bn)1\.", r"stem.\1."),
        (r"^backbone\.enc(\d)\.", counted("encoder.")),
        (r"^decoder\.dec(\d)\.", lambda match: f"decoder.{5 - int(match[1])}."),
        (r"^head\.1\.", "classify."),
        (r"\.upconv\.", ".conv."),
        (r"\.residual_(\d+)\.", r".units.\1."),
        (r"\.residual\.", ".units.0."),
        (r"\.bn(\d?)\.", r".norm\1."),
    ),
    SqueezeSegV2: (
        (r"^backbone\.conv1a\.0\.", "stem.narrow.conv."),
        (r"^backbone\.conv1a\.1\.", "stem.narrow.norm."),
        (r"^backbone\.conv1a\.3\.", "stem.attend."),
        (r"^backbone\.conv1b\.0\.", "beside.conv."),
        (r"^backbone\.conv1b\.1\.", "beside.norm."),
        (r"^backbone\.fire23\.", "encoder.0."),
        (r"^backbone\.fire45\.", "encoder.1."),
        (r"^backbone\.fire6789\.", "encoder.2."),
        (r"^decoder\.firedec(\d+)\.", counted("decoder.", start=10)),
        (r"^head\.1\.", "classify."),
        (r"\.((?:un)?squeeze|expand[13]x[13])_bn\.", r".\1.norm."),
        (r"\.((?:un)?squeeze|expand[13]x[13])\.(?=weight|bias)", r".\1.conv."),
        (r"\.upconv\.", ".doubling."),
    ),
}
"""Network class with a public original -> rows that, applied in order, turn the original's names into ours."""
