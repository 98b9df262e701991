"""A run is continued with its own settings, or refused: no score is reported for settings that were not trained."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from rangeseg import ConfigError, train
from rangeseg.apps.benchmark_ssl import collect, shared_settings
from rangeseg.apps.recipe import Recipe
from rangeseg.apps.repeat import Job, make_jobs, run_jobs
from rangeseg.apps.reproduce import Reproduction
from rangeseg.apps.ssl_results import Results
from rangeseg.config import Config, config_from, config_from_yaml, write_config
from rangeseg.config.resuming import changes, check_resumed, read_stored
from rangeseg.engine.checkpoint import read_checkpoint, write_checkpoint
from rangeseg.engine.experiment import Experiment
from rangeseg.engine.optimizer import load_optimizer
from rangeseg.engine.samples import check_samples
from rangeseg.notices import Notice


def changed(config: Config, *overrides: str) -> Config:
    """A copy of a config with overrides, ``key.path=value``."""
    return config_from_yaml(write_config(config), overrides)


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a run folder but the lock."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".training"}


def test_a_finished_run_is_not_taken_for_one_with_other_settings(tiny_config: Config, tmp_path: Path) -> None:
    tiny_config.optim.steps = 1
    train(tiny_config)
    before = contents(Path(tiny_config.runtime.out))
    (tmp_path / "b.txt").write_text("00/000000\n")
    other = [f"data.labelled={tmp_path / 'b.txt'}", "runtime.seed=3", "optim.lr=0.5"]
    with pytest.raises(ConfigError, match="complete run") as error:
        train(changed(tiny_config, *other), resume="auto")
    for said in ("data.labelled: all there,", "runtime.seed: 0 there, 3 here", "optim.lr: 0.001 there, 0.5 here"):
        assert said in str(error.value)
    assert "Choose another runtime.out, or restore" in str(error.value)
    assert contents(Path(tiny_config.runtime.out)) == before


def test_an_unfinished_run_takes_other_settings_of_the_optimiser_and_says_so(tiny_config: Config) -> None:
    tiny_config.optim.steps = 1
    train(tiny_config)
    longer = changed(tiny_config, "optim.steps=2", "optim.weight_decay=0.5", "optim.clip=1", "consistency.weight=0.5")
    before = contents(Path(tiny_config.runtime.out))
    with pytest.raises(ConfigError, match=r"a run with other settings: runtime\.seed: 0 there, 3 here\. Choose"):
        train(changed(longer, "runtime.seed=3"), resume=True)
    assert contents(Path(tiny_config.runtime.out)) == before
    with pytest.warns(Notice, match=r"remaining steps .*consistency\.weight: 1\.0 there, 0\.5 here.*optim\.clip"):
        train(longer, resume=True)
    state = read_checkpoint(Path(tiny_config.runtime.out) / "last.pt")
    assert state["step"] == 2
    assert state["optimizer"]["param_groups"][0]["weight_decay"] == 0.5


def test_a_stored_optimiser_keeps_the_settings_of_the_config() -> None:
    layer = nn.Linear(2, 2)
    stored = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.5, weight_decay=0.1)
    layer(torch.ones(2)).sum().backward()
    stored.step()
    fresh = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9, weight_decay=0.2)
    load_optimizer(fresh, stored.state_dict())
    (group,) = fresh.param_groups
    assert (group["momentum"], group["weight_decay"]) == (0.9, 0.2)
    assert torch.equal(fresh.state[layer.bias]["momentum_buffer"], stored.state[layer.bias]["momentum_buffer"])


def test_a_network_without_a_training_is_not_resumed(tiny_config: Config) -> None:
    write_checkpoint(Path(tiny_config.runtime.out) / "last.pt", {"teacher": {}}, tiny_config)
    with pytest.raises(ValueError, match=r"last\.pt: holds a network without a training.*initialise_from"):
        train(tiny_config, resume="auto")


FREE = ["evaluation.split=test", "evaluation.every=1", "runtime.workers=5", "runtime.log_every=7", "data.memory_mb=5"]
FREE += ["runtime.accelerator=gpu", "runtime.loggers=[{name: wandb}]", "runtime.compile=true"]
LATER = ["optim.lr=0.5", "optim.clip=null", "optim.steps=9", "consistency.weight=0.5", "runtime.precision=bf16-mixed"]
LATER += ["runtime.devices=2", "runtime.num_nodes=2", "runtime.sync_batchnorm=true", "optim.lr_multipliers={head: 2}"]
NEVER = ["runtime.seed=1", "runtime.initialise_from=kitti", "optim.name=sgd", "teacher.decay=0.5", "preset=reference"]
NEVER += ["network.width=9", "network.stem=2", "perturbation.name=cutout", "method.name=cps", "supervised.lovasz=0"]
NEVER += ["data.labelled=none", "data.label_seed=1", "data.augmentation={flip: true}", "data.channels=[range]"]
NEVER += ["data.batch_labelled=4", "data.projection.width=128", "data.unlabelled_from=[{root: a, dataset: {name: x}}]"]


@pytest.mark.parametrize("override", [*FREE, *LATER, *NEVER])
def test_what_may_differ(override: str, tiny_config: Config) -> None:
    config, key = changed(tiny_config, override), override.partition("=")[0]
    for complete in (False, True):
        if override in NEVER or (override in LATER and complete):
            with pytest.raises(ConfigError, match=rf"holds a {'complete ' * complete}run.*{key}.* there, .* here"):
                check_resumed(tiny_config, config, complete=complete)
        else:
            notices = check_resumed(tiny_config, config, complete=complete)
            assert [key in notice for notice in notices] == [True] * (override in LATER)


def test_every_default_and_every_stored_key_of_earlier_versions_is_no_difference(tiny_config: Config) -> None:
    tiny_config.network["encoder"] = (1, 2)
    text = write_config(tiny_config).replace("  encoder:", "  trunk:").replace("preset: none\n", "")
    assert not changes(read_stored(text, "last.pt"), tiny_config)


def test_data_that_moved_is_said(tiny_config: Config) -> None:
    tiny_config.data.labelled_from = [{"root": "/a", "dataset": {"name": "semantic_kitti"}}]
    moved = ["data.root=/b", "data.labelled_from=[{root: /c, dataset: {name: semantic_kitti}}]"]
    (notice,) = check_resumed(tiny_config, changed(tiny_config, *moved), complete=True)
    assert f"data.root: {tiny_config.data.root} there, /b here" in notice
    assert "data.labelled_from[0].root: /a there, /c here" in notice


def test_a_path_in_another_spelling_or_moved_with_the_run_is_the_same(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = ("home/lists/one.txt", "home/lists/two.txt", "home/lists/copy.txt")
    (tmp_path / "home" / "lists").mkdir(parents=True)
    for name, scan in zip(names, ("00/000000", "00/000001", "00/000000"), strict=True):
        (tmp_path / name).write_text(f"{scan}\n")
    tiny_config.runtime.out, tiny_config.data.labelled = "home/runs/x", names[0]
    absolute = changed(tiny_config, f"data.labelled={tmp_path / names[0]}", f"runtime.out={tmp_path}/home/runs/x")
    assert not changes(tiny_config, absolute)
    assert not changes(tiny_config, changed(tiny_config, f"data.labelled={names[2]}"))
    assert [*changes(tiny_config, changed(tiny_config, f"data.labelled={names[1]}"))] == ["data.labelled"]
    shutil.move(tmp_path / "home", tmp_path / "there")
    moved = changed(absolute, "runtime.out=there/runs/x", "data.labelled=there/lists/one.txt")
    assert not changes(tiny_config, moved)
    other = changed(absolute, "runtime.out=there/runs/x", "data.labelled=there/lists/two.txt")
    assert [*changes(tiny_config, other)] == ["data.labelled"]


def test_an_unreadable_stored_config_is_not_taken_for_the_users_own() -> None:
    with pytest.raises(ConfigError, match=r"last\.pt: this version of rangeseg cannot read the config of the run"):
        read_stored("data: {root: x}\nnew_section: {}\n", "last.pt")


def listed(config: Config, path: Path, *names: str) -> None:
    """Write `data.labelled`."""
    path.write_text("".join(f"{name}\n" for name in names))
    config.data.labelled = str(path)


def test_a_run_folder_names_its_samples(tiny_config: Config, tmp_path: Path) -> None:
    tiny_config.optim.steps = 1
    listed(tiny_config, tmp_path / "list.txt", "00/000001")
    train(tiny_config)
    names = json.loads((Path(tiny_config.runtime.out) / "samples.json").read_text())
    assert names == {"labelled": ["00/000001"], "unlabelled": list(Experiment(tiny_config).open("train").names)}
    tiny_config.consistency.weight, tiny_config.runtime.out = 0.0, str(tmp_path / "supervised")
    train(tiny_config)
    names = json.loads((tmp_path / "supervised" / "samples.json").read_text())
    assert names == {"labelled": ["00/000001"]}


@pytest.mark.parametrize("steps", [1, 2])
def test_a_list_that_was_edited_since_is_noticed(steps: int, tiny_config: Config, tmp_path: Path) -> None:
    tiny_config.optim.steps = 1
    listed(tiny_config, tmp_path / "list.txt", "00/000001")
    train(tiny_config)
    before = contents(Path(tiny_config.runtime.out))
    longer = changed(tiny_config, f"optim.steps={steps}")
    listed(tiny_config, tmp_path / "list.txt", "00/000000")
    with (
        pytest.warns(Notice) if steps > 1 else nullcontext(),
        pytest.raises(ConfigError, match=r"other labelled samples: 1 more \(00/000000\) and 1 fewer \(00/000001\)"),
    ):
        train(longer, resume="auto")
    assert contents(Path(tiny_config.runtime.out)) == before
    listed(tiny_config, tmp_path / "list.txt", "00/000001")
    shutil.copytree(Path(tiny_config.runtime.out), tmp_path / "older")
    (tmp_path / "older" / "samples.json").unlink()
    train(changed(tiny_config, f"runtime.out={tmp_path / 'older'}"), resume=True)


def test_repeat_does_not_report_a_run_on_other_samples(tiny_config: Config, tmp_path: Path) -> None:
    tiny_config.optim.steps = 1
    listed(tiny_config, tmp_path / "list.txt", "00/000001")
    (tmp_path / "tiny.yaml").write_text(write_config(tiny_config))
    (job,) = make_jobs([tmp_path / "tiny.yaml"], [3], tmp_path / "out")
    train(changed(tiny_config, f"runtime.out={job.folder}", "runtime.seed=3"))
    assert job.step().is_done()
    listed(tiny_config, tmp_path / "list.txt", "00/000000", "00/000001")
    with pytest.raises(ConfigError, match=r"other labelled samples: 1 more \(00/000000\).*or choose another --out"):
        next(run_jobs([job], []))
    (tmp_path / "list.txt").unlink()  # the data is on another machine
    assert job.step().is_done()


@pytest.mark.parametrize("text", ["", "[1]", '{"labelled": 1}'])
def test_a_damaged_list_of_samples_is_said(text: str, tmp_path: Path) -> None:
    (tmp_path / "samples.json").write_text(text)
    with pytest.raises(ConfigError, match=r"samples\.json: cannot be read"):
        check_samples(tmp_path, {"labelled": ["a"]})


def finished(job: Job, config: Config) -> None:
    """A run folder of a finished training."""
    job.folder.mkdir(parents=True)
    config.runtime.out, config.runtime.seed = str(job.folder), job.seed
    (job.folder / "config.yaml").write_text(write_config(config))
    job.report.write_text(json.dumps({"mean_iou": 0.5}))


@pytest.fixture
def jobs(tiny_config: Config, tmp_path: Path) -> list[Job]:
    """Two finished trainings of `rangeseg repeat`."""
    (tmp_path / "tiny.yaml").write_text(write_config(tiny_config))
    made = make_jobs([tmp_path / "tiny.yaml"], [3, 4], tmp_path / "out")
    for job in made:
        finished(job, config_from([asdict(tiny_config)]))
    return made


def test_finished_trainings_are_not_repeated(jobs: list[Job]) -> None:
    assert [*run_jobs(jobs, ["evaluation.every=2", "runtime.workers=3"])] == jobs


@pytest.mark.parametrize("override", ["optim.lr=0.5", "optim.steps=9", "data.label_fraction=0.5", "teacher.decay=0.5"])
def test_finished_trainings_with_other_settings_are_refused(override: str, jobs: list[Job]) -> None:
    with pytest.raises(ConfigError, match=rf"tiny_seed3: holds a complete run.*{override.partition('=')[0]}.*--out"):
        next(run_jobs(jobs, [override]))


def test_finished_trainings_are_scored_again_if_the_evaluation_differs(jobs: list[Job]) -> None:
    assert jobs[0].step(["evaluation.every=2"]).is_done()
    assert not jobs[0].step(["evaluation.split=test"]).is_done()


def test_a_report_belongs_to_the_config_beside_it(tiny_config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a training that is extended and killed would pass for a finished one."""
    tiny_config.optim.steps = 1
    train(tiny_config)
    report = Path(tiny_config.runtime.out) / "evaluation.json"
    assert report.is_file()

    def killed(*given: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rangeseg.engine.training.read_batches", killed)
    with pytest.warns(Notice, match=r"optim\.steps"), pytest.raises(KeyboardInterrupt):
        train(changed(tiny_config, "optim.steps=9"), resume=True)
    assert not report.exists()


def test_configs_of_one_name_do_not_share_run_folders(tmp_path: Path) -> None:
    jobs = make_jobs(["a/x.yaml", "b/x.yaml"], [0], tmp_path)
    with pytest.raises(ValueError, match=r"b/x\.yaml and a/x\.yaml have the same run folder .*x_seed0"):
        next(run_jobs(jobs, []))
    assert len({job.folder for job in make_jobs(["a_0.1.yaml", "a_0.5.yml", "a_0.1", "a_0.7"], [0], tmp_path)}) == 3


COMMANDS: dict[str, Callable[[str], object]] = {
    "repeat": lambda word: next(run_jobs([], [word])),
    "benchmark-ssl": lambda word: shared_settings([word]),
    "reproduce": lambda word: Reproduction([], Path("root"), Path("out"), overrides=[word]),
    "recipe": lambda word: Recipe("kitti", Path("out"), Path("real"), overrides=(word,)),
}
KEYS = {
    "repeat": "runtime.seed runtime.out",
    "recipe": "runtime.out data.root data.labelled runtime.initialise_from data.unlabelled",
}
BOTH = "runtime.seed runtime.out data.root data.labelled"


@pytest.mark.parametrize("command", COMMANDS)
def test_what_a_command_sets_for_each_training_is_no_override_of_all(command: str) -> None:
    for key in KEYS.get(command, BOTH).split():
        with pytest.raises(ValueError, match=f"{key}=7: the command sets {key} in each training. Use "):
            COMMANDS[command](f"{key}=7")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_whole_section_is_an_override_of_its_keys(command: str) -> None:
    for key in KEYS.get(command, BOTH).split():
        section, _, name = key.partition(".")
        with pytest.raises(ValueError, match=rf"{section}={{{name}: 7}}: the command sets {key} in each training"):
            COMMANDS[command](f"{section}={{{name}: 7}}")
    with pytest.raises(ValueError, match=r"runtime\[.*: the command sets runtime\.out"):
        COMMANDS[command]("runtime[out]=7")


@pytest.mark.parametrize("word", ["initialise_from=kitti", "devices=2", "num_nodes=2", "sync_batchnorm=true"])
def test_cells_of_the_benchmark_start_and_run_alike(word: str, tmp_path: Path, tiny_config: Config) -> None:
    key, _, value = word.partition("=")
    with pytest.raises(ValueError, match=rf"The benchmark: runtime\.{key}={value.title() if key[0] == 's' else value}"):
        shared_settings([f"runtime.{word}"])
    run = tmp_path / "cutmix_1pct_seed0"
    run.mkdir()
    (run / "evaluation.json").write_text('{"mean_iou": 0.5}')
    (run / "config.yaml").write_text(write_config(config_from_yaml(write_config(tiny_config), [f"runtime.{word}"])))
    with pytest.raises(ValueError, match=rf"cutmix_1pct_seed0: runtime\.{key}=.* changes the trained weights"):
        collect(tmp_path, tmp_path / "results.json", Results(1, {}))
