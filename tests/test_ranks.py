"""Processes that share work: each item once, whatever their number."""

from __future__ import annotations

import json
import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from lightning_fabric import Fabric

from rangeseg.cli import main
from rangeseg.config import Config, write_config
from rangeseg.engine.fabric import from_first
from rangeseg.engine.preconditions import check_batches, check_launch
from rangeseg.engine.training import train
from rangeseg.inference.distributed import ProcessGroup
from rangeseg.launch import Launch, find_launch, init_method
from rangeseg.networks import create_network
from rangeseg.registry import ConfigError


@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
@pytest.mark.parametrize("count", [0, 1, 6, 23])
def test_together_they_have_each_item_once(world_size: int, count: int) -> None:
    shards = [list(ProcessGroup(rank, world_size).shard(range(count))) for rank in range(world_size)]
    assert sorted(item for shard in shards for item in shard) == list(range(count))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


def test_without_torchrun_a_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    group = ProcessGroup.init()
    assert group == ProcessGroup(0, 1, 0)
    group.barrier()
    group.close()


def test_half_an_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match="RANK, MASTER_ADDR, MASTER_PORT are not set; start the command with torchrun"):
        ProcessGroup.init()


def test_who_started_a_process_is_found() -> None:
    torchrun = {"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1", "MASTER_ADDR": "a", "MASTER_PORT": "1"}
    assert find_launch(torchrun) == Launch(3, 4, 1, "torchrun")
    srun = {"SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "2", "SLURM_LOCALID": "0"}
    assert find_launch(srun) == Launch(2, 4, 0, "srun")
    assert find_launch({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}) is None  # the batch script itself
    assert find_launch({"WORLD_SIZE": "1", "RANK": "0"}) is None
    assert init_method(srun | {"SLURM_JOB_ID": "7"}) == "tcp://127.0.0.1:20007"
    with pytest.raises(ValueError, match="Set MASTER_ADDR"):
        init_method(srun | {"SLURM_STEP_NUM_NODES": "2"})


def test_another_number_of_processes_than_is_to_train_is_refused_before_anything_is_written(
    tiny_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each would train by itself, into one folder."""
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29999"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=r"runtime\.devices: torchrun started 2 processes, but .* is 1\. Set"):
        train(tiny_config)
    assert not Path(tiny_config.runtime.out).exists()
    tiny_config.runtime.devices = 2
    check_launch(tiny_config)


@pytest.mark.parametrize(("name", "freeze"), [("pspnet", "none"), ("deeplab_v3plus", "backbone")])
def test_one_view_a_process_is_refused_where_the_network_cannot_learn_from_it(
    tiny_config: Config, name: str, freeze: str
) -> None:
    """As BatchNorm itself would refuse, but in the first step."""
    more = {"encoder": "resnet18"} if name == "pspnet" else {"layers": 50}
    one, image = tiny_config, torch.randn(1, 3, 33, 33)
    network = create_network(name, in_channels=3, num_classes=4, width=8, freeze_batchnorm=freeze, **more)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        network.train()(image)
    one.data.batch_labelled = 1
    with pytest.raises(
        ConfigError, match=r"data\.batch_labelled: .* process has 1 view.* needs 2\. Set .* to 2 or more"
    ):
        check_batches(one, network)
    one.data.batch_labelled, one.optim.accumulate = 2, 2
    with pytest.raises(ConfigError, match=r"data\.batch_labelled: .* to 4 or more"):
        check_batches(one, network)
    frozen = create_network(name, in_channels=3, num_classes=4, width=8, freeze_batchnorm="all", **more)
    frozen.train()(image)
    check_batches(one, frozen)


EVALUATE = """
import sys
from rangeseg.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_an_evaluation_and_have_the_numbers_of_one(
    tiny_config: Config, tmp_path: Path, world: int
) -> None:
    """Three have fewer scans, two, than processes."""
    train(tiny_config)
    command = ["evaluate", tiny_config.runtime.out, "--device", "cpu", "--json"]
    assert main([*command, str(tmp_path / "alone.json")]) == 0
    (tmp_path / "evaluate.py").write_text(EVALUATE)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    started = [
        subprocess.Popen(
            [sys.executable, str(tmp_path / "evaluate.py"), *command, str(tmp_path / "shared.json")],
            env=environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]
    told = [one.communicate(timeout=300) for one in started]
    assert [one.returncode for one in started] == [0] * world, told
    assert [bool(out) for out, _ in told] == [True] + [False] * (world - 1)
    assert json.loads((tmp_path / "shared.json").read_text()) == json.loads((tmp_path / "alone.json").read_text())


TRAIN = """
import os, sys
import torch
from rangeseg.config import read_config
from rangeseg.engine import training

made = []
make = training._make_trainer

def remember(*arguments, **options):
    made.append(make(*arguments, **options))
    torch.save({"before": made[0].network.state_dict()}, f"{sys.argv[2]}/before{os.environ['RANK']}.pt")
    return made[0]

training._make_trainer = remember
training.train(read_config(sys.argv[1]))
trained = {"student": made[0].network.state_dict(), "teacher": made[0].teacher.network.state_dict()}
torch.save(trained, f"{sys.argv[2]}/after{os.environ['RANK']}.pt")
"""


def start_two(program: str, config: Config, folder: Path) -> None:
    """Run a program by torchrun on two processes, with the config's file and the folder as arguments."""
    (folder / "config.yaml").write_text(write_config(config))
    (folder / "train.py").write_text(program)
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(folder / "train.py")]
    words += [str(folder / "config.yaml"), str(folder)]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
def test_deeplab_v2_trains_on_two_processes_and_they_stay_equal(photo_config: Config, tmp_path: Path) -> None:
    """Two of its four branches get no gradient, for which processes would wait; started by torchrun."""
    config = photo_config
    config.network = {"name": "deeplab_v2", "layers": 50, "width": 4, "branches": 2, "freeze_batchnorm": "all"}
    config.data.augmentation = {"crop": [17, 25]}
    config.runtime.devices, config.optim.steps, config.data.batch_labelled = 2, 3, 2
    config.data.batch_unlabelled = 2
    start_two(TRAIN, config, tmp_path)
    (before, _), (after, other) = ([torch.load(tmp_path / f"{when}{rank}.pt") for rank in (0, 1)] for when in TIMES)
    for who in ("student", "teacher"):
        assert after[who].keys() == other[who].keys()
        for name, value in after[who].items():
            assert torch.equal(value, other[who][name]), (who, name)
    moved = {name for name, value in after["student"].items() if not torch.equal(value, before["before"][name])}
    assert {"head.0.weight", "head.1.weight"} <= moved
    assert not {"head.2.weight", "head.3.weight"} & moved


TIMES = ("before", "after")

RESUME = """
import os, sys
from pathlib import Path
import torch
from rangeseg.config import read_config
from rangeseg.engine import training

made = []
make = training._make_trainer

def remember(*arguments, **options):
    made.append(make(*arguments, **options))
    made.append(made[0].step)
    return made[0]

training._make_trainer = remember
os.chdir(Path(sys.argv[2]) / f"machine{os.environ['RANK']}")
training.train(read_config(sys.argv[1]), resume="auto")
torch.save({"start": made[1], "network": made[0].network.state_dict()}, "after.pt")
"""


@pytest.mark.slow
def test_processes_without_the_run_folder_resume_with_the_first_one(tiny_config: Config, tmp_path: Path) -> None:
    """As on machines that share no folder; otherwise they would begin anew and spoil the run."""
    tiny_config.optim.steps, tiny_config.runtime.out = 2, str(tmp_path / "machine0" / "run")
    (tmp_path / "machine1").mkdir()
    train(tiny_config)
    tiny_config.optim.steps, tiny_config.runtime.devices, tiny_config.runtime.out = 3, 2, "run"
    start_two(RESUME, tiny_config, tmp_path)
    assert not (tmp_path / "machine1" / "run").exists()
    first, second = (torch.load(tmp_path / f"machine{rank}" / "after.pt") for rank in (0, 1))
    assert first["start"] == second["start"] == 2
    assert all(torch.equal(value, second["network"][name]) for name, value in first["network"].items())


def test_the_first_process_decides_whether_there_is_a_run(tiny_config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    def received(self: Fabric, value: Any, src: int = 0) -> Any:
        return True if value is False else value

    monkeypatch.setattr(Fabric, "broadcast", received)
    with pytest.raises(ConfigError, match="already holds a run"):
        train(tiny_config)
    with pytest.raises(ValueError, match="no such checkpoint"):
        train(tiny_config, resume="auto")


def test_what_the_first_process_reads_or_fails_to_read_reaches_all() -> None:
    class Second:
        is_global_zero = False

        def __init__(self, *sent: Any) -> None:
            self.sent = sent

        def broadcast(self, value: Any) -> Any:
            return self.sent

    class First:
        is_global_zero = True

        def broadcast(self, value: Any) -> Any:
            sent.append(pickle.loads(pickle.dumps(value)))
            return value

    def fails() -> int:
        raise ConfigError("last.pt: cannot be read")

    sent: list[Any] = []
    assert from_first(cast(Fabric, First()), lambda: 7) == 7
    assert from_first(cast(Fabric, Second(*sent.pop())), fails) == 7
    with pytest.raises(ConfigError, match="cannot be read"):
        from_first(cast(Fabric, First()), fails)
    with pytest.raises(ConfigError, match="cannot be read"):
        from_first(cast(Fabric, Second(*sent.pop())), lambda: 7)


def test_each_process_of_a_machine_has_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    devices = [ProcessGroup(rank, 4, local_rank=rank % 4).device("auto") for rank in range(4)]
    assert devices == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]
    assert ProcessGroup(1, 4, 1).device("cpu") == "cpu"
    assert ProcessGroup().device("auto") == "auto"
