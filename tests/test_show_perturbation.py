"""`rangeseg show perturbation`: what is drawn is what is done."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rangeseg.apps.show_perturbation import label_targets, untrained_network
from rangeseg.cli import main
from rangeseg.config import Config, write_config
from rangeseg.engine.training import train
from rangeseg.labels import LabelMap
from rangeseg.perturbations import Channels, CutMix, CutOut
from rangeseg.resources import resource
from rangeseg.types import IGNORE, View
from rangeseg.vis.perturbation import SOURCES, perturbation_panels, source_picture, target_picture, view_picture

H, W, K = 16, 128, 19
CHANNELS = Channels(("range", "remission"), (10.0, 0.2), (5.0, 0.1))
RGB = Channels(("red", "green", "blue"), (0.5,) * 3, (0.25,) * 3)


def label_map() -> LabelMap:
    return LabelMap.read(resource("datasets", "semantic_kitti", "labels.yaml"))


def view(seed: int) -> View:
    rng = torch.Generator().manual_seed(seed)
    valid = torch.rand(1, H, W, generator=rng) < 0.8
    label = torch.randint(K, valid.shape, generator=rng).where(valid, IGNORE)
    return View(torch.randn(1, 2, H, W, generator=rng) * valid[:, None], valid, label)


def test_sources_are_where_the_mask_says() -> None:
    a, b = view(1), view(2)
    perturbation = CutMix(wrap=True)
    made = perturbation(torch.Generator().manual_seed(0), label_targets(a, K), label_targets(b, K))
    mask = perturbation.draw_mask(torch.Generator().manual_seed(0), b.valid, torch.empty(0))[0]
    picture = source_picture(made.image[0], made.valid[0], a.image[0], b.image[0])
    expected = np.where(mask[..., None], SOURCES["b"], SOURCES["a"]) * made.valid[0].numpy()[..., None]
    np.testing.assert_array_equal(picture, expected)


def test_labels_are_almost_certain_and_nothing_is_preferred_elsewhere() -> None:
    known = view(1)
    target = label_targets(known, K).target
    torch.testing.assert_close(target.sum(1), torch.ones(1, H, W), atol=1e-5, rtol=0)
    there = known.label[0] != IGNORE
    assert torch.equal(target[0].argmax(0)[there], known.label[0][there])
    assert (target[0].amax(0)[~there] < 0.06).all()


def test_targets_have_their_classes_colours_and_fade_with_doubt() -> None:
    target = torch.full((K, 1, 3), 1e-9)
    target[4, 0, 0] = target[4, 0, 2] = 1.0
    target[:, 0, 1] = 1 / K
    drawn = target_picture(target, torch.tensor([[True, True, False]]), label_map())
    assert drawn[0, 0].tolist() == label_map().colors[4].tolist()
    assert drawn[0, 1].tolist() == [235] * 3
    assert drawn[0, 2].tolist() == [0] * 3


def test_views_are_drawn_in_their_colours_their_range_or_grey() -> None:
    color = torch.rand(3, 2, 4, generator=torch.Generator().manual_seed(0))
    valid = torch.tensor([[True] * 4, [True, False, True, True]])
    drawn = view_picture((color - 0.5) / 0.25 * valid, valid, RGB)
    np.testing.assert_allclose(drawn, (255 * color * valid).permute(1, 2, 0).numpy(), atol=1.01)
    near = view_picture(torch.tensor([[[-1.0]], [[0.0]]]), torch.ones(1, 1, dtype=torch.bool), CHANNELS)
    far = view_picture(torch.tensor([[[8.0]], [[0.0]]]), torch.ones(1, 1, dtype=torch.bool), CHANNELS)
    assert near.sum() > far.sum()  # yellow to violet
    grey = view_picture(color, valid, Channels())
    assert (grey[..., 0] == grey[..., 1]).all()


def test_the_legend_names_only_classes_that_the_target_has() -> None:
    a, b = view(1), view(2)
    for last in (False, True):
        label = torch.where(a.label < 9, IGNORE, K - 1 if last else 0)
        known = View(a.image, a.valid, label)
        made = CutOut()(torch.Generator().manual_seed(0), label_targets(known, K), label_targets(b, K))
        sheet = perturbation_panels(known, b, made, channels=CHANNELS, label_map=label_map(), title="cutout")
        assert (sheet == label_map().colors[K - 1]).all(-1).any() == last


def test_drawing_leaves_torchs_own_generator_alone() -> None:
    before = torch.get_rng_state()
    untrained_network(view(1), K)
    assert torch.equal(before, torch.get_rng_state())


def test_several_views_are_all_drawn() -> None:
    a, b = view(1), view(2)
    targets = label_targets(a, K), label_targets(b, K)
    sheets = []
    for complement in (False, True):
        made = CutMix(complement=complement)(torch.Generator().manual_seed(0), *targets)
        sheets.append(perturbation_panels(a, b, made, channels=CHANNELS, label_map=label_map(), title="cutmix"))
    assert sheets[1].shape[0] > 1.4 * sheets[0].shape[0]
    assert sheets[0].shape[1] == 512


def test_the_command_draws_names_and_configs_of_scans_and_photographs(
    tiny_config: Config, photo_config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = {}
    for name, config in (("scans", tiny_config), ("photos", photo_config)):
        paths[name] = tmp_path / f"{name}.yaml"
        paths[name].write_text(write_config(config))
    for name, path in paths.items():
        words = ["show", "perturbation", "cutmix", "jitter", "lasermix_complement", str(path), "--config", str(path)]
        assert main([*words, "--png", str(tmp_path / name)]) == 0
        for drawn in ("cutmix", "jitter", "lasermix_complement", name):
            with Image.open(tmp_path / name / f"{drawn}.png") as picture:
                assert min(picture.size) > 30
    assert "scans.png" in capsys.readouterr().out


def test_a_runs_teacher_answers(tiny_config: Config, tmp_path: Path) -> None:
    train(tiny_config)
    config = tmp_path / "config.yaml"
    config.write_text(write_config(replace(tiny_config)))
    words = ["show", "perturbation", "cutout", "--config", str(config), "--png", str(tmp_path / "one.png")]
    assert main([*words, "--run", tiny_config.runtime.out]) == 0
    assert (tmp_path / "one.png").is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["perturbation", "cutmx", "--png", "x.png"], "Did you mean 'cutmix'"),
        (["perturbation", "cutmix"], "ive --png"),
        (["perturbation", "cutmix", "a/cutmix.yaml", "--png", "x"], "Several pictures would have the name cutmix.png"),
        (["one.bin", "two.bin"], "show draws one scan"),
        (["perturbation", "compose", "--png", "x.png"], "first: missing"),
    ],
)
def test_what_cannot_be_drawn_is_said(
    words: list[str], said: str, tiny_config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(write_config(tiny_config))
    assert main(["show", *words, "--config", str(config)]) == 1
    assert said in capsys.readouterr().err
