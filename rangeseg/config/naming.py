"""The default run folder of an experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def default_folder(config: Any, place: str | None = None) -> str:
    """``runs/PLACE/NETWORK_METHOD_LABELS``, followed by the seed if it is not 0.

    METHOD is `supervised` if the consistency weight is 0, the perturbation for a mean teacher with a perturbation, and
    otherwise the name of `method`. `_mix_` and a name follow for each perturbation in `supervised.mix`. LABELS is
    `all`, `none` or the name of the list without its `train_`. It is followed by the share of labelled pixels if that
    is below 1, with `_classes` if `data.label_spread` is classes and with `data.label_seed` if that is not 0, and by
    `_carried_` and `data.carried_as` if there are carried labels.

    Args:
        config: a `Config`, or an OmegaConf object with the same keys.
        place: name of the experiment's first config; None: name of the dataset.
    """
    method = str(config.method.get("name"))
    if config.consistency.weight == 0:
        method = "supervised"
    elif method == "mean_teacher" and config.perturbation.get("name") != "identity":
        method = str(config.perturbation.get("name"))
    method += "".join(f"_mix_{name}" for name, arguments in config.supervised.mix.items() if arguments is not None)
    labels = Path(str(config.data.labelled)).name.removesuffix(".txt").removeprefix("train_")
    if config.data.label_fraction < 1:
        labels += f"_{config.data.label_fraction:g}"
        labels += "_classes" if config.data.label_spread == "classes" else ""
        labels += f"_labelseed{config.data.label_seed}" if config.data.label_seed else ""
    if config.data.carried != "none":
        labels += f"_carried_{config.data.carried_as}"
    seed = f"_seed{config.runtime.seed}" if config.runtime.seed else ""
    place = place or str(config.data.dataset.get("name"))
    return f"runs/{place}/{config.network.get('name')}_{method}_{labels}{seed}".replace(":", ".")
