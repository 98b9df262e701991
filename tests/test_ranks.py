"""Processes that share work: each thing once, whatever their number."""

from __future__ import annotations

import pytest
import torch

from rangeseg.inference.distributed import Rank


@pytest.mark.parametrize("world", [1, 2, 3, 7])
@pytest.mark.parametrize("things", [0, 1, 6, 23])
def test_together_they_have_each_thing_once(world: int, things: int) -> None:
    shares = [list(Rank(number, world).share(range(things))) for number in range(world)]
    assert sorted(thing for share in shares for thing in share) == list(range(things))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_without_torchrun_a_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    rank = Rank.join()
    assert rank == Rank(0, 1, 0)
    rank.wait()
    rank.leave()


def test_half_an_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match="RANK, MASTER_ADDR, MASTER_PORT are not set; start the command with torchrun"):
        Rank.join()


def test_each_process_of_a_machine_has_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    devices = [Rank(number, 4, local=number % 4).device("auto") for number in range(4)]
    assert devices == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]
    assert Rank(1, 4, 1).device("cpu") == "cpu"
    assert Rank().device("auto") == "auto"
