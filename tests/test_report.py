"""Reports: their numbers are those of `evaluate`, seeds become one row, the page opens alone and its points turn."""

from __future__ import annotations

import base64
import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from rangeseg.apps.report import write_report
from rangeseg.cli import main
from rangeseg.config import Config
from rangeseg.engine.checkpoint import write_checkpoint
from rangeseg.engine.experiment import Experiment
from rangeseg.engine.training import train
from rangeseg.labels import LabelMap
from rangeseg.types import IGNORE
from rangeseg.vis.report import MOST_POINTS, ReportSample, confusion, page, paragraph, scans, table


class Cells(HTMLParser):
    """Tables as lists of rows of texts, and all that a page would load from elsewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.outside: list[str] = []
        self.inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.outside += [value for key, value in attrs if key in ("src", "href") and value and value[:5] != "data:"]
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self.inside = True

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.tables[-1][-1][-1] += data


def with_seed(config: Config, seed: int) -> Config:
    return replace(config, runtime=replace(config.runtime, seed=seed, out=f"{config.runtime.out}_seed{seed}"))


def points_of(text: str) -> dict:
    found = re.search(r'id="points">(.*?)</script>', text, re.DOTALL)
    assert found
    return json.loads(found[1])


def test_the_page_says_what_evaluate_says(tiny_config: Config, tmp_path: Path) -> None:
    configs = [with_seed(tiny_config, seed) for seed in (0, 1)]
    for config in configs:
        train(config)
    runs = [config.runtime.out for config in configs]
    assert main(["report", *runs, "--out", str(tmp_path / "page.html"), "--scans", "1", "--title", "a < b"]) == 0
    results = []
    for run in runs:
        assert main(["evaluate", run, "--json", str(tmp_path / "e.json")]) == 0
        results.append(json.loads((tmp_path / "e.json").read_text()))
    text = (tmp_path / "page.html").read_text("utf-8")
    assert "<h1>a &lt; b</h1>" in text
    found = Cells(text)
    assert not found.outside
    result, _, classes, distances, *_ = found.tables
    scores = np.array([100 * result["mean_iou"] for result in results])
    assert result[1][1] == f"{scores.mean():.1f} ± {scores.std(ddof=1):.1f}"
    assert result[1][3] == ", ".join(f"{seed}: {score:.1f}" for seed, score in enumerate(scores))
    assert len(result) == 2  # the seeds are one experiment
    for name, _, value in classes[1:]:
        each = [result["iou"][name] for result in results]
        expected = "absent" if None in each else f"{100 * np.mean(each):.1f} ± {100 * np.std(each, ddof=1):.1f}"
        assert value == expected
    assert [row[0] for row in distances[1:3]] == ["0 to 10 m", "10 to 20 m"]
    differing = next(rows for rows in found.tables if rows[0][0] == "key")
    assert {row[0] for row in differing[1:]} == {"runtime.seed", "runtime.out"}


def test_weights_by_name_do_not_get_the_files_of_the_current_folder(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tiny_config)
    monkeypatch.chdir(tiny_config.runtime.out)
    overrides = [f"data.root={tiny_config.data.root}", "data.dataset.name=semantic_kitti"]
    text = write_report(["first-answer"], tmp_path / "page.html", scans=1, overrides=overrides).read_text("utf-8")
    assert "have no metrics.csv" in text
    assert "This checkpoint has no versions.json" in text
    assert "<td>not recorded</td>" in text


def test_an_experiment_without_seeds_has_a_row_of_its_own(tiny_config: Config, tmp_path: Path) -> None:
    other = replace(tiny_config, runtime=replace(tiny_config.runtime, out=f"{tiny_config.runtime.out}_cutout"))
    other.perturbation = {"name": "cutout"}
    for config in (tiny_config, other):
        train(config)
    runs = [config.runtime.out for config in (tiny_config, other)]
    text = write_report(runs, tmp_path / "page.html", scans=2, intro="R&D").read_text("utf-8")
    assert "<p>R&amp;D</p>" in text
    names = [Path(run).name for run in runs]
    result = Cells(text).tables[0]
    assert [row[0] for row in result[1:]] == names
    assert result[0][2] == f"gain over {names[0]}"
    assert result[1][2] == ""
    assert float(result[2][2]) == pytest.approx(float(result[2][1]) - float(result[1][1]), abs=0.11)
    assert "With one seed, a gain" in text
    captions = re.findall(r"<div class='beside'>(.*?)</div>", text)[0]
    assert text.index("class='beside'") < text.index("<table>")  # the pictures come first
    assert [said.split(":")[0] for said in re.findall(r"<figcaption>(.*?)</figcaption>", captions)] == ["truth", *names]
    drawn = points_of(text)["scans"]
    layers = ["label", *(f"{name}{part}" for name in names for part in ("", ": errors"))]
    assert [[layer["name"] for layer in scan["layers"]] for scan in drawn] == [layers] * len(drawn)


@pytest.mark.slow
def test_runs_on_different_scans_are_refused_and_copies_of_the_same_are_not(
    tiny_config: Config, tiny_kitti: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other_root = Path(shutil.copytree(tiny_kitti, tmp_path / "other"))
    run = Path(tiny_config.runtime.out)
    train(tiny_config)
    elsewhere = replace(tiny_config, data=replace(tiny_config.data, root=str(other_root)))
    train(replace(elsewhere, runtime=replace(tiny_config.runtime, out=str(tmp_path / "elsewhere"))))
    command = ["report", str(run), str(tmp_path / "elsewhere"), "--out", str(tmp_path / "page.html"), "--scans", "1"]
    assert main(command) == 0
    assert len(Cells((tmp_path / "page.html").read_text("utf-8")).tables[0]) == 3  # side by side
    capsys.readouterr()

    points = other_root / "sequences/08/velodyne/000000.bin"
    labels = other_root / "sequences/08/labels/000000.label"
    points.write_bytes(points.read_bytes()[: 16 * 700])
    labels.write_bytes(labels.read_bytes()[: 4 * 700])
    for other in (points, labels):
        shutil.copy(other, other.with_stem("000001"))
    assert main(command) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert f"{run} and {tmp_path / 'elsewhere'} are scored on different files: 08/00000" in said
    assert "has 1,500 and 700 points" in said

    points.unlink()
    labels.unlink()
    assert main(command) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert f"{run} and {tmp_path / 'elsewhere'} are scored on different scans" in said
    assert f"2 and 1 scans; only {run} has 08/000000; data.root is {tiny_kitti} and {other_root}" in said
    assert main([*command, f"data.root={tiny_kitti}"]) == 0  # what it says to do


def test_a_gain_is_told_seed_by_seed_and_names_have_no_seed(tiny_config: Config, tmp_path: Path) -> None:
    configs = [with_seed(tiny_config, seed) for seed in (0, 1)]
    for config in configs[:]:
        config.runtime.out = str(tmp_path / f"plain_seed{config.runtime.seed}")
        other = replace(
            config, runtime=replace(config.runtime, out=str(tmp_path / f"cutout_seed{config.runtime.seed}"))
        )
        other.perturbation = {"name": "cutout"}
        configs.append(other)
    for config in configs:
        train(config)
    text = write_report([config.runtime.out for config in configs], tmp_path / "page.html", scans=0).read_text("utf-8")
    found = Cells(text)
    scores = {}
    for config in configs:
        report = json.loads(Path(config.runtime.out, "evaluation.json").read_text())
        scores[Path(config.runtime.out).name] = 100 * report["mean_iou"]
    gains = [scores[f"cutout_seed{seed}"] - scores[f"plain_seed{seed}"] for seed in (0, 1)]
    assert [row[0] for row in found.tables[0][1:]] == ["plain", "cutout"]
    assert found.tables[0][2][2] == f"{np.mean(gains):+.1f} ± {np.std(gains, ddof=1):.1f}"
    assert found.tables[0][0][4] == "gain over plain"  # of the accuracy
    times = next(rows for rows in found.tables if "time of training" in rows[0])
    assert [row[:2] for row in times[1:]] == [["plain", "0"], ["plain", "1"], ["cutout", "0"], ["cutout", "1"]]
    assert all(re.fullmatch(r"\d+:\d\d:\d\d", row[-1]) for row in times[1:])
    machine = json.loads(Path(configs[0].runtime.out, "versions.json").read_text())
    assert f"{machine['cores']} cores" in text


def test_a_checkpoint_alone_tells_no_time_and_no_machine(tiny_config: Config, tmp_path: Path) -> None:
    train(tiny_config)
    alone = tmp_path / "alone" / "last.pt"
    alone.parent.mkdir()
    alone.write_bytes(Path(tiny_config.runtime.out, "last.pt").read_bytes())
    text = write_report([alone], tmp_path / "page.html", scans=1).read_text("utf-8")
    assert "not recorded" in text
    assert "the machine is not known" in text


def test_every_run_of_a_seed_has_a_row_and_a_name_of_its_own(tiny_config: Config, tmp_path: Path) -> None:
    """Whatever differs: the start, the file, or only the folder."""
    network = Experiment(tiny_config).make_network().state_dict()

    def write(place: str, seed: int, start: str | None, change: float = 0.0) -> str:
        runtime = replace(tiny_config.runtime, seed=seed, initialise_from=start)
        state = {name: value * (1 + change) if value.ndim == 4 else value for name, value in network.items()}
        write_checkpoint(tmp_path / place, {"teacher": state}, replace(tiny_config, runtime=runtime))
        return str(tmp_path / place)

    def rows(*runs: str) -> list[list[str]]:
        found = Cells(write_report(runs, tmp_path / "page.html", scans=0).read_text("utf-8"))
        confidence = next(table for table in found.tables if "ECE" in table[0][1])
        assert len(confidence) == len(runs) + 1
        return [[row[0] for row in table[1:]] for table in (found.tables[0], confidence)]

    scratch, tuned = write("scratch/last.pt", 0, None), write("tuned/last.pt", 0, "kitti", 0.5)
    assert rows(*(str(Path(path).parent) for path in (scratch, tuned))) == [["scratch", "tuned"]] * 2
    best = write("scratch/best.pt", 0, None, 0.5)
    assert rows(scratch, best) == [["scratch/last.pt", "scratch/best.pt"]] * 2
    places = [write(f"{place}/cutmix_seed{seed}/last.pt", seed, f"base_seed{seed}", len(place) - 1)
              for place in ("x", "yy") for seed in (0, 1)]  # fmt: skip
    names = [f"{place}/cutmix" for place in ("x", "yy")]
    each = [f"{name}, seed {seed}" for name in names for seed in (0, 1)]
    assert rows(*(str(Path(path).parent) for path in places)) == [names, each]


def test_scans_without_labels_are_not_ranked(tiny_config: Config, tmp_path: Path) -> None:
    root = Path(shutil.copytree(tiny_config.data.root, tmp_path / "data"))
    np.zeros(1500, np.uint32).tofile(root / "sequences/08/labels/000000.label")
    config = replace(tiny_config, data=replace(tiny_config.data, root=str(root)))
    write_checkpoint(tmp_path / "a.pt", {"teacher": Experiment(config).make_network().state_dict()}, config)
    text = write_report([tmp_path / "a.pt"], tmp_path / "page.html", scans=2).read_text("utf-8")
    assert len(points_of(text)["scans"]) == 1
    assert "number 1 of 1 from the worst" in text
    assert "mIoU nan" not in text


def test_no_run_is_no_report(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one run"):
        write_report([], tmp_path / "page.html")
    with pytest.raises(ValueError, match="no such checkpoint"):
        write_report([tmp_path / "nothing"], tmp_path / "page.html")
    assert not [*tmp_path.iterdir()]


def shown(rng: np.random.Generator, count: int = 1000) -> ReportSample:
    xyz = rng.normal(size=(count, 3)).astype(np.float32) * 10
    xyz[0] = np.nan
    label = rng.integers(0, 19, count)
    label[1] = IGNORE
    wrong = np.where(np.arange(count) % 2, label, (label + 1) % 19)
    panel = rng.integers(0, 255, (20, 30, 3)).astype(np.uint8)
    return ReportSample("08/000001", "words", panel, xyz, {"label": label, "guess": wrong})


def test_points_are_centimetres_and_errors_are_told(rng: np.random.Generator, label_map: LabelMap) -> None:
    one = shown(rng)
    text = page("t", [scans([one], label_map)], [one], label_map).decode()
    data = points_of(text)
    scan = data["scans"][0]
    assert one.xyz is not None
    xyz = np.frombuffer(base64.b64decode(scan["xyz"]), "<i2").reshape(-1, 3) / 100
    np.testing.assert_allclose(xyz, one.xyz[1:], atol=0.0051)
    label, guess, errors = (np.frombuffer(base64.b64decode(layer["ids"]), np.uint8) for layer in scan["layers"])
    assert label[0] == 19
    np.testing.assert_array_equal(label[1:], one.colorings["label"][2:])
    np.testing.assert_array_equal(guess[1:], one.colorings["guess"][2:])
    assert errors[0] == 19
    np.testing.assert_array_equal(errors[1:], np.where(np.arange(2, 1000) % 2, 20, 21))
    assert len(data["palette"]) == 22


def test_a_name_cannot_break_the_points(rng: np.random.Generator, label_map: LabelMap) -> None:
    nasty = replace(shown(rng), colorings={"<!--<script>&": np.zeros(1000, np.int64)})
    text = page("t", [scans([nasty], label_map)], [nasty], label_map).decode()
    assert "<!--<script>" not in text
    assert points_of(text)["scans"][0]["layers"][0]["name"] == "<!--<script>&"


def test_large_scans_are_thinned(rng: np.random.Generator, label_map: LabelMap) -> None:
    data = points_of(page("t", [], [shown(rng, 3 * MOST_POINTS)], label_map).decode())
    assert len(base64.b64decode(data["scans"][0]["layers"][0]["ids"])) <= MOST_POINTS


def test_text_cannot_break_out(label_map: LabelMap) -> None:
    nasty = "<!--<script></script><b>'\"&"
    text = page(nasty, [paragraph(nasty), table([nasty], [[nasty]])], [], label_map).decode()
    assert "<b>" not in text
    rows = Cells(confusion(np.array([[3, 1, 0], [0, 0, 0]]), ["a", nasty])).tables[0]
    assert rows[1] == ["a", "75", "25"]
    assert rows[2] == [nasty, "", ""]
    assert len(Cells(confusion(np.array([[3, 1, 4], [0, 0, 0]]), ["a", "b"])).tables[0][0]) == 4


@pytest.mark.slow
def test_a_browser_draws_and_turns_the_points(rng: np.random.Generator, label_map: LabelMap, tmp_path: Path) -> None:
    driver = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    browser = next(
        (path for path in map(Path, ("/usr/bin/chromium", "/usr/bin/chromium-browser")) if path.exists()), None
    )
    if browser is None:
        pytest.skip(reason="there is no chromium")
    one = shown(rng, 5000)
    (tmp_path / "page.html").write_bytes(page("t", [scans([one], label_map)], [one], label_map))
    with driver.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=str(browser), args=["--no-sandbox"])
        tab = opened.new_context(offline=True).new_page()
        said: list[str] = []
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.goto(f"file://{tmp_path / 'page.html'}")
        canvas = tab.locator("canvas")
        tab.wait_for_timeout(300)
        first = canvas.screenshot()
        tab.get_by_text("guess: errors").click()
        tab.wait_for_timeout(200)
        second = canvas.screenshot()
        box = canvas.bounding_box()
        assert box
        tab.mouse.move(box["x"] + 200, box["y"] + 100)
        tab.mouse.down()
        tab.mouse.move(box["x"] + 320, box["y"] + 40, steps=4)
        tab.mouse.up()
        tab.wait_for_timeout(200)
        third = canvas.screenshot()
        opened.close()
    assert not said
    assert len({first, second, third}) == 3
