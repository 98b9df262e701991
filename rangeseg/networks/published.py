"""Import of published weights into our networks; all names and shapes are checked before loading.

A checkpoint is read in our own layout or in that of the network's public original (`PUBLISHED_NAMES`). It may be
wrapped in a mapping, as training code saves it, or consist of lidar-bonnetal's three parts. Its names may have the
prefixes of DataParallel, torch.compile or a class around the network.

The originals have K + 1 classes: class 0 is "unlabelled", the others are our K classes in the same order. Their losses
never count class 0. If its row is removed, all other logits stay the same: the prediction at every pixel is exactly the
most probable of the other K classes. It differs from the original's only at pixels for which the original predicts
class 0, which no benchmark requires.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, cast

from torch import Tensor, nn

from rangeseg.networks.checkpoint_files import WITHIN
from rangeseg.networks.published_names import PUBLISHED_NAMES

PARTS = {"backbone": "backbone.", "segmentation_decoder": "decoder.", "segmentation_head": "head."}
"""lidar-bonnetal's three files -> prefix of their names in one state dict."""

CLASSIFIER = re.compile(r"(^|\.)(classify|auxiliary\.\d+)\.(weight|bias)$")
"""Names of the weights that have K rows."""

PREFIXES = ("module.", "model.", "net.", "network.")
"""Prefixes of all names of a network that is part of another module."""

COMPILED = re.compile(r"(^|\.)_orig_mod\.")

SHOWN = 6
"""Largest number of names of each kind of misfit in an error."""


def import_state_dict(
    network: nn.Module,
    state_dict: Mapping[str, Any],
    *,
    drop_unlabelled: bool = True,
    classifier: Literal["import", "new"] = "import",
) -> None:
    """Put published weights into a network; on any error, it is not changed.

    Args:
        network: one of `NETWORKS`, with the arguments of the published one.
        state_dict: name -> tensor, in our layout or the original's: bare, under one of the keys `WITHIN`, or as one
            mapping for each of `PARTS`. BatchNorm's counters may be missing.
        drop_unlabelled: remove the first row (class 0, unlabelled) of an original's classifier of K + 1 rows. To keep
            it, give False and a network with K + 1 classes.
        classifier: "new" does not load the classifier and the auxiliary heads, for training on other classes.

    Raises:
        ValueError: weights are missing, left over or of another shape, the number of classes differs, this is no state
            dict, or "new" with a network whose classifier is unknown.
    """
    own = dict(network.state_dict())
    state = unwrap(state_dict)
    renamed = {rename(type(network), name): value for name, value in state.items()}
    original = len(own.keys() & renamed.keys()) > len(own.keys() & state.keys())
    state = renamed if original else state
    if classifier == "new":
        if not any(map(CLASSIFIER.search, own)):
            raise ValueError(f"{type(network).__name__}: its classifier weights are unknown; import all weights.")
        state = {name: value for name, value in state.items() if not CLASSIFIER.search(name)}
        state |= {name: value for name, value in own.items() if CLASSIFIER.search(name)}
    else:
        state = _fit_classes(own, state, drop=drop_unlabelled and original)
    state = {name: value for name, value in own.items() if name.endswith("num_batches_tracked")} | state
    if problems := misfits(own, state):
        raise ValueError(
            f"The weights are not those of this {type(network).__name__}: {'; '.join(problems)}. Nothing was loaded. "
            "Give the network the arguments of the published network, or use another file."
        )
    network.load_state_dict(state)


def rename(kind: type[nn.Module], name: str) -> str:
    """Our name for a public parameter `name`; a name without a rule does not change."""
    for pattern, replacement in PUBLISHED_NAMES.get(kind, ()):
        name = re.sub(pattern, replacement, name)
    return name


def unwrap(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The named tensors of a checkpoint, without wrappers and prefixes.

    Raises:
        ValueError: it is empty, or holds anything else than named tensors.
    """
    while inner := next((checkpoint[name] for name in WITHIN if isinstance(checkpoint.get(name), Mapping)), None):
        checkpoint = inner
    if checkpoint.keys() <= PARTS.keys() and all(isinstance(part, Mapping) for part in checkpoint.values()):
        checkpoint = {PARTS[part] + name: value for part in checkpoint for name, value in checkpoint[part].items()}
    if not checkpoint or not all(isinstance(value, Tensor) for value in checkpoint.values()):
        raise ValueError(
            "The file holds no named tensors; save network.state_dict(), alone or under the key state_dict."
        )
    state = {COMPILED.sub(r"\1", name): value for name, value in cast(Mapping[str, Tensor], checkpoint).items()}
    while prefix := next((one for one in PREFIXES if all(name.startswith(one) for name in state)), ""):
        state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def misfits(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> list[str]:
    """Reasons why a state cannot be loaded, as text; empty if there are none."""
    shapes = {
        f"{name} {tuple(state[name].shape)} (here {tuple(own[name].shape)})"
        for name in own.keys() & state.keys()
        if state[name].shape != own[name].shape
    }
    kinds = {
        "missing": own.keys() - state.keys(),
        "unexpected": state.keys() - own.keys(),
        "with a different shape": shapes,
    }
    return [
        f"{len(names)} {kind}: {', '.join(sorted(names)[:SHOWN])}{', ...' if len(names) > SHOWN else ''}"
        for kind, names in kinds.items()
        if names
    ]


def _fit_classes(own: Mapping[str, Tensor], state: Mapping[str, Tensor], *, drop: bool) -> dict[str, Tensor]:
    """The state; with `drop`, classifiers that have one row more than the network's lose their first row."""
    fitted = dict(state)
    for name in (name for name in own.keys() & state.keys() if CLASSIFIER.search(name)):
        ours, theirs = len(own[name]), len(state[name])
        if drop and theirs == ours + 1:
            fitted[name] = state[name][1:]
        elif theirs != ours:
            raise ValueError(
                f"{name} has {theirs} classes, but this network has {ours}. Build the network with {theirs} "
                "classes, or "
                "leave the classifier untrained (classifier='new' or --new-classifier) and train it."
            )
    return fitted
