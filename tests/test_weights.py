"""Weights by name: shipped ones, a folder, a web server, the Hub; and what is refused."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from conftest import random_scan
from safetensors import safe_open

from rangeseg import Segmenter
from rangeseg.cli import main
from rangeseg.config import Config, config_from_yaml
from rangeseg.engine.experiment import Experiment
from rangeseg.engine.training import train
from rangeseg.inference.run import Run
from rangeseg.weights import DEFAULT, SUFFIX, find_weights, pack, same, shipped

FACTS = {
    "summary": "Four steps.", "data": "Made-up scans.", "licence": "none needed", "sensors": ["none"],
    "scores": {"nothing": {"mean_iou": 0.1}}, "limits": "All.", "made_by": "a test",
}  # fmt: skip


@pytest.fixture
def packed(tiny_config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A folder with the weights of a run of four steps, in half precision, made by the command."""
    train(tiny_config)
    facts, folder = tmp_path / "facts.json", tmp_path / "packed"
    facts.write_text(json.dumps(FACTS))
    words = [
        "weights",
        "--pack",
        tiny_config.runtime.out,
        "--name",
        "tiny",
        "--facts",
        str(facts),
        "--out",
        str(folder),
    ]
    assert main(words) == 0
    assert "tiny.safetensors and its card" in capsys.readouterr().out
    return folder


def test_all_that_ships_loads_and_labels(rng: np.random.Generator) -> None:
    assert DEFAULT in shipped()
    for name, weights in shipped().items():
        assert (weights.folder / weights.card.weights).stat().st_size < 8e6  # bytes
        assert weights.card.classes == list(Experiment(config_from_yaml(weights.card.config)).label_map.names)
        scan = random_scan(rng)
        labels = Segmenter.load(name, device="cpu")(scan)
        assert labels.shape == (len(scan),)
        assert labels.max() < len(weights.card.classes)
    assert same(Run.load(device="cpu").network.state_dict(), shipped()[DEFAULT].state())


def test_a_packed_run_is_the_run_in_half_precision(packed: Path, tiny_config: Config, tmp_path: Path) -> None:
    trained, loaded = (Run.load(path, device="cpu") for path in (Path(tiny_config.runtime.out), packed))
    for name, value in trained.network.state_dict().items():
        found = loaded.network.state_dict()[name]
        assert found.dtype == value.dtype
        torch.testing.assert_close(found, value.half().to(value.dtype))
    card = json.loads((packed / f"tiny{SUFFIX}").read_text())
    assert {key: card[key] for key in FACTS} == FACTS
    assert str(tmp_path.parent) not in json.dumps(card)  # no folder of this machine
    with safe_open(packed / "tiny.safetensors", "np") as file:
        assert {file.get_tensor(name).dtype.name for name in file.keys()} <= {"float16", "int64"}  # noqa: SIM118


@pytest.fixture
def server(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The folder on a local web server."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *words: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(packed))) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{made.server_port}/tiny{SUFFIX}"
        made.shutdown()
        thread.join()


def test_weights_of_a_url_are_fetched_once_and_checked(server: str, packed: Path) -> None:
    digest = sha256((packed / f"tiny{SUFFIX}").read_bytes()).hexdigest()
    there = find_weights(f"{server}#sha256={digest}")
    assert there is not None
    assert same(there.state(), find_weights(packed).state())  # type: ignore[union-attr]
    (packed / "tiny.safetensors").unlink()
    (packed / f"tiny{SUFFIX}").unlink()
    again = find_weights(Path(f"{server}#sha256={digest}"))  # as the command line gives it; from the cache
    assert again is not None
    assert again.card == there.card
    with pytest.raises(ValueError, match="give the SHA-256 of the card"):
        find_weights(server)
    with pytest.raises(ValueError, match="cannot be fetched"):
        find_weights(f"{server}#sha256={'0' * 64}")


def test_what_is_not_the_cards_is_refused(server: str, packed: Path) -> None:
    card = packed / f"tiny{SUFFIX}"
    with pytest.raises(ValueError, match=r"the SHA-256 is [0-9a-f]{64}, not 0000"):
        find_weights(f"{server}#sha256={'0' * 64}")
    digest = sha256(card.read_bytes()).hexdigest()
    (packed / "tiny.safetensors").write_bytes(b"something else")
    with pytest.raises(ValueError, match="damaged or another file"):
        find_weights(f"{server}#sha256={digest}")
    with pytest.raises(ValueError, match=r"tiny.safetensors: the SHA-256"):
        Run.load(packed)
    (packed / "tiny.safetensors").unlink()
    with pytest.raises(ValueError, match=r"missing\. Put the weights of tiny"):
        Run.load(card)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": "../../secret.safetensors"}, "which is not the name of a .safetensors file"),
        ({"weights": "tiny.pt"}, "the name of a .safetensors file"),
        ({"format": 9}, "the card has format 9"),
        ({"surprise": 1}, "is not a card of weights"),
        ({"config": "runtime: {out: '${oc.env:HOME}'}"}, "could read your environment"),
    ],
)
def test_bad_cards_are_refused(packed: Path, change: dict[str, Any], message: str) -> None:
    path = packed / f"tiny{SUFFIX}"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=message):
        Run.load(packed)


def test_a_broken_card_and_two_cards_are_refused(packed: Path) -> None:
    (packed / f"other{SUFFIX}").write_text("{")
    with pytest.raises(ValueError, match="contains 2 cards"):
        Run.load(packed)
    with pytest.raises(ValueError, match="is not a card of weights"):
        Run.load(packed / f"other{SUFFIX}")


def test_the_hub_is_asked_for_card_and_weights_alone(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    hub, errors = ModuleType("huggingface_hub"), ModuleType("huggingface_hub.errors")
    for name in ("HfHubHTTPError", "HFValidationError", "LocalEntryNotFoundError"):
        setattr(errors, name, type(name, (Exception,), {}))

    def snapshot_download(name: str, **options: Any) -> str:
        asked.append((name, options))
        return str(packed)

    hub.snapshot_download = snapshot_download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    monkeypatch.setitem(sys.modules, "huggingface_hub.errors", errors)
    found = find_weights("hub:someone/any-lidar@v1")
    assert found is not None
    assert found.card.name == "tiny"
    patterns = ["*.card.json", "*.safetensors"]
    assert asked == [("someone/any-lidar", {"revision": "v1", "allow_patterns": patterns})]
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"rangeseg\[hub\]"):
        find_weights("hub:someone/any-lidar")


def test_an_unknown_name_gets_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="Did you mean 'first-answer'"):
        Run.load("first-anser")
    assert main(["weights", "first-anser"]) == 1
    assert "no such checkpoint, run folder or weights" in capsys.readouterr().err


def test_the_command_lists_and_shows(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights"]) == 0
    assert "first-answer" in capsys.readouterr().out
    assert main(["weights", "first-answer"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "CC BY-NC-SA" in said
    assert "0.191" in said


def test_places_of_this_machine_are_not_in_a_card_or_told_of(
    packed: Path, tiny_config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "weights",
        "--pack",
        tiny_config.runtime.out,
        "--facts",
        str(tmp_path / "facts.json"),
        "--out",
        str(packed),
    ]
    head = tmp_path / "head.pt"
    changes = [f"data.carried={tmp_path}", f"evaluation.back_projection={{name: head, file: {head}}}"]
    assert main([*words, "--name", "other", *changes]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert f"other{SUFFIX}: its config names evaluation.back_projection.file={head}, which others do not have" in line
    assert f"carried: {tmp_path}" not in json.loads((packed / f"other{SUFFIX}").read_text())["config"]
    assert main([*words, "--name", "a/b"]) == 1
    assert "cannot be called 'a/b'" in capsys.readouterr().err
    (tmp_path / "facts.json").write_text("[1]")
    assert main([*words, "--name", "c"]) == 1
    assert "is not a JSON object of facts" in capsys.readouterr().err
    assert not list(packed.glob("[abc]*"))


def test_a_folder_of_weights_labels_scans(packed: Path, tiny_kitti: Path, tmp_path: Path) -> None:
    scan = tiny_kitti / "sequences/08/velodyne/000000.bin"
    assert main(["predict", str(packed), str(scan), "--out", str(tmp_path / "labels"), "--anyway"]) == 0
    assert len(list((tmp_path / "labels").rglob("*.label"))) == 1


def test_facts_that_a_card_lacks_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="summary"):
        pack("x", {"w": torch.zeros(1)}, tmp_path, {})


def test_numbers_beyond_half_precision_keep_single_precision(tmp_path: Path) -> None:
    state = {"large": torch.tensor([1e5, 1.0]), "small": torch.tensor([0.1]), "count": torch.tensor([70_000])}
    facts = FACTS | {"config": "", "classes": []}
    found = pack("a", state, tmp_path, facts).state()
    assert torch.equal(found["large"], state["large"])
    assert torch.equal(found["count"], state["count"])
    assert torch.equal(found["small"], state["small"].half().float())
