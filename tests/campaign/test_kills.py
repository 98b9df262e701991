"""Kills of every command that writes: each file is whole or absent, and the same command again ends as if unharmed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from campaign.figures import Figures
from campaign.kill_routes import KILLED, Killed
from campaign.kills import Victim

KILLS, SMALL = 38, 1
"""Of a command of weight 1."""

GO_ON = 4
"""Every so many kills the command is given again."""


@pytest.mark.slow
@pytest.mark.parametrize("killed", KILLED, ids=lambda killed: killed.name)
def test_kills(
    killed: Killed, workspace: Path, tmp_path: Path, full: bool, campaign_seed: int, figures: Figures
) -> None:
    if not full and (killed.weight < 1 or killed.name not in SOME):
        pytest.skip("only of the full campaign")
    victim = Victim(workspace, killed, tmp_path)
    rng = np.random.default_rng([campaign_seed, *killed.name.encode()])
    faults = []
    for number in range(max(1, round(KILLS * killed.weight)) if full else SMALL):
        kind, verdict, words = victim.strike(rng, go_on=number % GO_ON == 0)
        figures.count("kills", killed.name, verdict)
        figures.count("signals", kind, verdict)
        if verdict not in ("whole", "ended before"):
            faults.append(f"{number}: {verdict}: {words}")
    assert not faults, f"{len(faults)}:\n" + "\n".join(faults[:12])


SOME = ("train", "predict", "predict of a bag", "evaluate --json", "unpack an MCAP")
"""What the small campaign kills."""
