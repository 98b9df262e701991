"""Laws of the trainer: who learns from what, and that stopping and going on changes nothing."""

from __future__ import annotations

import copy
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from rangeseg.catalog import PERTURBATIONS
from rangeseg.config import Config
from rangeseg.data.loading import Batch
from rangeseg.engine.checkpoint import read_checkpoint, write_checkpoint
from rangeseg.engine.experiment import Experiment
from rangeseg.engine.loss_guard import LossGuard, NotFiniteError
from rangeseg.engine.optimizer import parameter_groups
from rangeseg.engine.precision import in_precision, usable_precision
from rangeseg.engine.run_logger import RunLogger, read_metrics
from rangeseg.engine.stopping import StopRequest
from rangeseg.engine.trainer import Batches, Evaluation, Trainer
from rangeseg.engine.training import train
from rangeseg.evaluation.evaluate import score
from rangeseg.inference.run import Run
from rangeseg.networks.base import Network
from rangeseg.perturbations import CutMix, Identity, Perturbation
from rangeseg.registry import ConfigError
from rangeseg.types import IGNORE, View

K = 5


def random_view(seed: int, batch: int = 2, *, labelled: bool = True) -> View:
    generator = torch.Generator().manual_seed(seed)
    valid = torch.rand(batch, 16, 64, generator=generator) < 0.8
    label = torch.randint(0, K, valid.shape, generator=generator).where(valid & torch.tensor(labelled), IGNORE)
    return View(torch.randn(batch, 5, 16, 64, generator=generator) * valid[:, None], valid, label)


def trainer(config: Config, perturbation: Perturbation | None = None, network: nn.Module | None = None) -> Trainer:
    fabric = Fabric(accelerator="cpu", devices=1)
    return Trainer(fabric, network or Experiment(config).make_network(K), perturbation or CutMix(), config)


def weights(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def views() -> tuple[View, View]:
    return random_view(2, labelled=False), random_view(3, labelled=False)


def test_consistency_moves_the_student_and_never_the_teacher(tiny_config: Config) -> None:
    tiny_config.supervised.cross_entropy = tiny_config.supervised.lovasz = 0.0
    tiny_config.teacher.decay = 1.0
    made = trainer(tiny_config)
    student, teacher = weights(made.network), weights(made.teacher.network)
    made.train_step(random_view(1), views())
    parameters = dict(made.network.named_parameters())
    assert any(not torch.equal(student[name], parameters[name]) for name in parameters)
    floating = {name: value for name, value in teacher.items() if value.is_floating_point()}  # counters are copied
    assert same(floating, weights(made.teacher.network))
    assert all(p.grad is None for p in made.teacher.network.parameters())


SECTIONS = {
    "compose": {"first": {"name": "cutmix"}, "then": [{"name": "vat"}, {"name": "geometric"}, {"name": "jitter"}]},
    "one_of": {"parts": [{"name": "cowmix"}, {"name": "lasermix", "sectors": [2, 4]}]},
    "all_of": {"parts": [{"name": "lasermix", "complement": True}, {"name": "polarmix", "copies": 3}]},
    "sequential": {"parts": [{"name": "cutmix"}, {"name": "range_union"}]},
}


@pytest.mark.parametrize("kind", ["var", "logits_var"])
@pytest.mark.parametrize("name", [name for name in PERTURBATIONS if name != "affine"])  # not for cylinders
def test_every_perturbation_of_a_config_trains_the_student_and_can_be_replayed(
    tiny_config: Config, name: str, kind: str
) -> None:
    tiny_config.supervised.cross_entropy = tiny_config.supervised.lovasz = 0.0
    tiny_config.teacher.decay = 1.0
    tiny_config.consistency.kind = kind
    tiny_config.perturbation = {"name": name} | SECTIONS.get(name, {})
    torch.manual_seed(0)
    network = Experiment(tiny_config).make_network(K)
    results = []
    for _ in range(2):
        made = trainer(tiny_config, Experiment(tiny_config).perturbation, copy.deepcopy(network))
        with torch.no_grad():  # a student that disagrees with its teacher
            made.network.get_parameter(next(n for n, _ in made.network.named_parameters())).mul_(1.5)
        before, teacher = weights(made.network), weights(made.teacher.network)
        losses = made.train_step(random_view(1), views())
        assert losses["consistency"] > 0
        assert any(not torch.equal(before[n], p) for n, p in made.network.named_parameters())
        assert all(torch.equal(teacher[n], p) and p.grad is None for n, p in made.teacher.network.named_parameters())
        results.append(weights(made.network))
    assert same(*results)


def test_the_state_of_an_optimiser_from_before_the_multipliers_trains_on(tiny_config: Config) -> None:
    one, other = trainer(tiny_config), trainer(tiny_config)
    other.network.load_state_dict(one.network.state_dict())
    other.teacher.network.load_state_dict(one.teacher.network.state_dict())
    state = one.optimizer.state_dict()
    for group in state["param_groups"]:
        del group["multiplier"]
    other.optimizer.load_state_dict(state)
    for made in (one, other):
        made.train_step(random_view(1), views())
    assert same(weights(one.network), weights(other.network))


def test_weight_zero_is_supervised_training(tiny_config: Config) -> None:
    tiny_config.teacher.buffers = "copy"
    tiny_config.consistency.weight = 0.0
    with_views, without = trainer(tiny_config, Identity()), trainer(tiny_config, Identity())
    with_views.train_step(random_view(1), views())
    without.train_step(random_view(1), None)
    # the student's BatchNorm has seen the unlabelled views; its weights have not
    a, b = dict(with_views.network.named_parameters()), dict(without.network.named_parameters())
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_the_teacher_is_the_moving_average(tiny_config: Config) -> None:
    made = trainer(tiny_config)
    before = weights(made.teacher.network)
    made.train_step(random_view(1), views())
    after, student = weights(made.teacher.network), weights(made.network)
    for name, value in before.items():
        if value.is_floating_point():
            torch.testing.assert_close(after[name], 0.99 * value + 0.01 * student[name])


def test_empty_pixels_get_no_gradient(tiny_config: Config) -> None:
    made = trainer(tiny_config, Identity())
    tiny_config.consistency.normalise = "valid"
    a, b = views()
    losses = made.consistency_loss(torch.Generator(), a, b)
    kept: list[torch.Tensor] = []
    made.network.register_forward_hook(lambda module, inputs, output: (output.retain_grad(), kept.append(output))[0])
    made.consistency_loss(torch.Generator(), a, b)["consistency"].backward()
    assert torch.isfinite(losses["consistency"])
    assert (kept[0].grad.abs().sum(1)[~a.valid] == 0).all()
    assert (kept[0].grad.abs().sum(1)[a.valid] > 0).any()


def test_accumulation_gives_the_gradient_of_the_whole_batch(tiny_config: Config) -> None:
    """With equally many labelled pixels per view and no BatchNorm, parts of a batch add up to it."""

    class Pixelwise(Network):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(5, K, 1)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return self.conv(image)

    tiny_config.supervised.lovasz = 0.0
    tiny_config.optim.clip = None
    tiny_config.optim.name = "sgd"
    torch.manual_seed(0)
    network = Pixelwise()
    state = weights(network)
    results = []
    x = random_view(1)
    x = View(
        x.image,
        torch.ones_like(x.valid),
        torch.randint(0, K, x.label.shape, generator=torch.Generator().manual_seed(0)),
    )
    for parts in (1, 2):
        tiny_config.optim.accumulate = parts
        network.load_state_dict(state)
        made = trainer(tiny_config, network=network)
        made.train_step(x, None)
        results.append(weights(network))
    for name in state:
        torch.testing.assert_close(results[0][name], results[1][name])
        assert not torch.equal(results[0][name], state[name])


def test_norms_and_biases_do_not_decay(tiny_config: Config) -> None:
    decayed, free = parameter_groups(Experiment(tiny_config).make_network(K), 0.01)
    assert all(p.ndim > 1 for p in decayed["params"])
    assert all(p.ndim <= 1 for p in free["params"])
    assert free["weight_decay"] == 0 < decayed["weight_decay"]


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_resume_is_bit_exact(tiny_config: Config, tmp_path: Path, stop: int) -> None:
    """Loader positions, masks, optimiser, teacher and schedule: a run stopped anywhere ends like one never stopped."""
    tiny_config.runtime.checkpoint_every = 1
    tiny_config.runtime.out = str(tmp_path / "whole")
    whole = train(tiny_config)
    tiny_config.runtime.out = str(tmp_path / "stopped")

    class Stopped(Exception):
        pass

    def stop_here(self: Trainer, path: Path, save: object = Trainer.save) -> None:
        save(self, path)  # type: ignore[operator]
        if self.step == stop:
            raise Stopped

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "save", stop_here)
        with pytest.raises(Stopped):
            train(tiny_config)
    again = train(tiny_config, resume=True)
    assert again == whole
    a, b = (read_checkpoint(tmp_path / name / "last.pt") for name in ("whole", "stopped"))
    for part in ("network", "teacher"):
        assert same(a[part], b[part])
    rows = [read_metrics(tmp_path / name / "metrics.csv") for name in ("whole", "stopped")]
    assert rows[0] == rows[1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # the compiler's own use of what torch deprecates
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU")
def test_compiling_changes_nothing_but_the_speed(tiny_config: Config, tmp_path: Path) -> None:
    tiny_config.optim.steps, tiny_config.consistency.weight = 2, 0.0
    states = []
    for compiled in (False, True):
        tiny_config.runtime.compile, tiny_config.runtime.out = compiled, str(tmp_path / str(compiled))
        train(tiny_config)
        states.append(read_checkpoint(tmp_path / str(compiled) / "last.pt")["teacher"])
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_a_teacher_is_scored_in_eval_mode_and_not_changed_by_it(tiny_config: Config, tmp_path: Path, mode: str) -> None:
    """Evaluating more often changes nothing, and the run read back gives the score of training."""
    tiny_config.teacher.mode = mode
    states = []
    for every in (0, 1):
        tiny_config.evaluation.every, tiny_config.runtime.out = every, str(tmp_path / str(every))
        trained = train(tiny_config)
        assert trained is not None
        states.append(read_checkpoint(tmp_path / str(every) / "last.pt")["teacher"])
    assert same(states[0], states[1])
    run = Run.load(tmp_path / "1", device="cpu")
    views = Experiment(run.config).views(Experiment(run.config).open("val"))
    again = score(
        Experiment(run.config).segment(run.network, views, range(len(views)), "cpu"), run.label_map.num_classes
    )
    assert again.overall.mean_iou() == trained["mean_iou"]


def test_a_run_folder_is_not_overwritten(tiny_config: Config) -> None:
    train(tiny_config)
    with pytest.raises(ConfigError, match="already holds a run"):
        train(tiny_config)


def test_resume_of_a_finished_run_reports_it_again(tiny_config: Config) -> None:
    assert train(tiny_config) == train(tiny_config, resume=True)


@pytest.mark.parametrize("others", [-1, 3, 8])
def test_of_several_processes_the_first_bad_step_counts(others: int, tmp_path: Path) -> None:
    """This process has its first bad loss in step 5, another one in step `others` (-1: none)."""

    class TwoProcesses:
        device, world_size = torch.device("cpu"), 2

        def all_reduce(self, value: torch.Tensor, reduce_op: str) -> torch.Tensor:
            other = torch.iinfo(torch.int64).max if others < 0 else others
            return {"min": torch.minimum, "max": torch.maximum}[reduce_op](value, torch.tensor(other))

    guard = LossGuard(TwoProcesses(), 10)  # type: ignore[arg-type]
    for step in range(7):
        guard.reading(step, [f"00/{step:06d}"])
        guard.note(step, {"supervised": torch.tensor(torch.nan if step >= 5 else 1.0)})
    read = "another process read them" if others == 3 else "00/000005"
    with pytest.raises(NotFiniteError, match=f"Step {3 if others == 3 else 5}: .*Scans of the step: {read}"):
        guard.check(tmp_path)


def test_a_loss_that_is_not_finite_stops_the_run_and_names_its_scans(tiny_config: Config, tmp_path: Path) -> None:
    made = trainer(tiny_config)
    logger = RunLogger(tmp_path / "run")

    def batches() -> Iterator[Batches]:
        for position in range(4):
            view = random_view(position)
            if position == 2:
                view = View(view.image * torch.nan, view.valid, view.label)
            yield Batch(view, (f"00/{position:06d}", "00/000009")), None, None

    with pytest.raises(NotFiniteError, match=r"Step 2: .*00/000002, 00/000009.*last\.pt"):
        made.fit(batches(), logger, lambda: Evaluation(0.0, {}), StopRequest())
    logger.close()
    state = read_checkpoint(tmp_path / "run" / "last.pt")
    assert state["step"] == 2
    assert all(torch.isfinite(value).all() for value in state["network"].values())


def test_half_a_checkpoint_is_no_checkpoint(tiny_config: Config, tmp_path: Path) -> None:
    train(tiny_config)
    path = Path(tiny_config.runtime.out) / "last.pt"
    whole = path.read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) - 1):
        (tmp_path / "half.pt").write_bytes(whole[:size])
        with pytest.raises(ValueError, match="not a complete checkpoint"):
            read_checkpoint(tmp_path / "half.pt")
    with pytest.raises(ValueError, match="no such checkpoint"):
        read_checkpoint(tmp_path / "absent.pt")


def test_a_checkpoint_of_another_network_is_refused(tiny_config: Config) -> None:
    train(tiny_config)
    path = Path(tiny_config.runtime.out) / "last.pt"
    state = read_checkpoint(path)
    del state["network"]["head.classify.bias"]
    write_checkpoint(path, state, tiny_config)
    with pytest.raises(ValueError, match="another network than this config"):
        train(tiny_config, resume=True)


def test_a_run_loads_its_teacher(tiny_config: Config) -> None:
    train(tiny_config)
    folder = Path(tiny_config.runtime.out)
    run = Run.load(folder, device="cpu")
    assert same(weights(run.network), read_checkpoint(folder / "last.pt")["teacher"])
    assert not run.network.training


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="the kernel does not tell the processor's instructions")
def test_bfloat16_is_used_where_the_processor_multiplies_it() -> None:
    told = set(Path("/proc/cpuinfo").read_text("utf-8").split())
    expected = bool(told & {"avx512_bf16", "amx_bf16"})
    found = []
    in_precision(lambda image: found.append(torch.is_autocast_enabled("cpu")) or image, "bf16-mixed")(torch.zeros(1))
    assert found == [expected]


def test_precision_falls_back_with_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert usable_precision("32-true", "cpu") == "32-true"
    with pytest.warns(UserWarning, match="training in 32-true"):
        assert usable_precision("16-mixed", "cpu") == "32-true"
