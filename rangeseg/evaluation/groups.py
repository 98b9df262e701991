"""Scores of groups of classes, for labels with other classes than the network: is a vehicle predicted as a vehicle?

Shapes: K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rangeseg.evaluation.metrics import ConfusionMatrix


def parse_groups(words: Sequence[str], names: Sequence[str]) -> dict[str, list[int]]:
    """Groups written as `vehicle=car,truck` -> train ids of each group.

    Args:
        words: one for each group.
        names: names of the K classes.

    Raises:
        ValueError: a word has another form, a class is unknown, or a group or a class occurs twice.
    """
    groups: dict[str, list[int]] = {}
    for word in words:
        name, _, members = word.partition("=")
        classes = [part.strip() for part in members.split(",") if part.strip()]
        if not name or not classes:
            raise ValueError(
                f"--groups: {word!r} does not have the form NAME=CLASS,CLASS, for example vehicle=car,truck."
            )
        if unknown := [one for one in classes if one not in names]:
            raise ValueError(f"--groups: {word!r}: no class is called {unknown[0]!r}. The classes: {', '.join(names)}.")
        if name in groups:
            raise ValueError(f"--groups: two groups are called {name!r}. Give each group its own name.")
        groups[name] = [list(names).index(one) for one in classes]
    given = [train_id for members in groups.values() for train_id in members]
    if twice := [names[one] for one in dict.fromkeys(given) if given.count(one) > 1]:
        raise ValueError(f"--groups: the class {twice[0]!r} occurs twice. Put it into one group.")
    return groups


def score_groups(matrix: ConfusionMatrix, groups: Mapping[str, Sequence[int]]) -> dict[str, dict[str, float | None]]:
    """For each group, the share of its elements predicted as the group, and its share of labels and of predictions.

    Args:
        matrix: the counts of an evaluation.
        groups: train ids of each group, see `parse_groups`.

    Returns:
        By group: `right`, share of the elements labelled with the group that are predicted as the group (None: there
        are no such elements); `labelled` and `predicted`, shares of all labelled elements (None: there are none).
    """
    counts = matrix.state.astype(np.float64)
    total = counts.sum()

    def share(part: float, whole: float) -> float | None:
        return float(part / whole) if whole else None

    found = {}
    for name, members in groups.items():
        rows = counts[list(members)]
        found[name] = {
            "right": share(rows[:, list(members)].sum(), rows.sum()),
            "labelled": share(rows.sum(), total),
            "predicted": share(counts[:, list(members)].sum(), total),
        }
    return found
