"""The default run folder of an experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def default_folder(config: Any, place: str | None = None) -> str:
    """``runs/PLACE/NETWORK_METHOD_LABELS``, followed by the seed if it is not 0.

    The method is `supervised`, the name of `method`, or for a mean teacher that of its perturbation; the labels are
    `all`, `none` or the name of the list without its `train_`, with the share of labelled pixels where that is below 1.
    At the end stands how carried labels are learnt, if there are any.

    Args:
        config: a `Config`, or what is to become one.
        place: what the experiment's first config is called; None: the dataset.
    """
    method = str(config.method.get("name"))
    if config.consistency.weight == 0:
        method = "supervised"
    elif method == "mean_teacher" and config.perturbation.get("name") != "identity":
        method = str(config.perturbation.get("name"))
    labels = Path(str(config.data.labelled)).stem.removeprefix("train_")
    if config.data.label_fraction < 1:
        labels += f"_{config.data.label_fraction:g}"
        labels += "_classes" if config.data.label_spread == "classes" else ""
    if config.data.carried != "none":
        labels += f"_carried_{config.data.carried_as}"
    seed = f"_seed{config.runtime.seed}" if config.runtime.seed else ""
    place = place or str(config.data.dataset.get("name"))
    return f"runs/{place}/{config.network.get('name')}_{method}_{labels}{seed}".replace(":", ".")
