"""Export of a trained run as one file (ONNX, OpenVINO, or an AOTInductor package), verified against the run first.

The graph reads `channels` (B, C, H, W) float32 in the sensor's units and `valid` (B, H, W) bool, normalises, and
returns `logits` (B, K, H, W) float32. Batch and width are dynamic (the width in multiples of the stride); for
photographs, so is the height. The entry `rangeseg` of the metadata is JSON with classes, channels, projection and the
whole config, so `rangeseg predict` reads the file like a run.

Shapes: B images, C channels, K classes, H rows, W columns.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import math
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rangeseg.config import write_config
from rangeseg.engine.checkpoint import stored_classes, write_checkpoint
from rangeseg.engine.experiment import Experiment
from rangeseg.engine.inputs import ScanInput
from rangeseg.evaluation.metrics import ConfusionMatrix
from rangeseg.files import write_atomically
from rangeseg.inference.quantise import Input, as_input, to_openvino
from rangeseg.inference.run import Run
from rangeseg.inference.segmenter import AnySample, Segmenter
from rangeseg.networks.exported import KEY, ExportedNetwork, read_exported
from rangeseg.version import __version__

LARGEST_DIFFERENCE = 1e-3
"""Largest accepted difference of a logit between the run and the exported file."""

LEAST_AGREEMENT = 0.9999
"""Smallest accepted share of elements that have the same label from the run and from the file."""

LEAST_AGREEMENT_INT8 = 0.9
"""The same for int8, where rounding moves class borders."""


@dataclass(frozen=True)
class Agreement:
    """The result of comparing a file with its run on real scans or photographs."""

    samples: int
    elements: int
    differing: int
    """Number of elements with different labels."""
    largest_difference: float
    """Largest difference of a logit."""
    mean_iou: tuple[float, float] | None = None
    """mIoU of the run and of the file, if the inputs have labels."""

    def good(self, *, int8: bool = False) -> bool:
        """Whether the file may be written; for int8, only the labels are compared."""
        least, most = (LEAST_AGREEMENT_INT8, math.inf) if int8 else (LEAST_AGREEMENT, LARGEST_DIFFERENCE)
        same = self.elements - self.differing >= least * self.elements
        return self.samples > 0 and same and self.largest_difference <= most


class Normalising(nn.Module):
    """A network with normalisation; its inputs are raw channels and a valid mask.

    Args:
        network: (B, C, H, W) normalised images -> (B, K, H, W) logits.
        mean: (C,).
        std: (C,).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: Iterable[float], std: Iterable[float]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor([*mean]).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor([*std]).view(-1, 1, 1))

    def forward(self, channels: Tensor, valid: Tensor) -> Tensor:
        """(B, C, H, W) and (B, H, W) -> (B, K, H, W)."""
        image = (channels - self.mean) / self.std
        logits: Tensor = self.network(torch.where(valid[:, None], image, torch.zeros_like(image)))
        return logits


def export(
    run: Run, path: Path, samples: Iterable[AnySample], *, calibration: Sequence[AnySample] | None = None
) -> Agreement:
    """Write a run's network to `path`, if the file agrees with the run.

    Args:
        run: the run, on the device that will run the package; for ONNX, on the CPU.
        path: ends in ``.onnx``; in ``.xml`` for OpenVINO, with a ``.bin`` next to it; or in ``.pt2`` for machine code
            from torch's AOTInductor, for this kind of processor only.
        samples: real scans or photographs that both label; if they have labels, both are scored.
        calibration: scans, other than `samples`, to quantise an OpenVINO model to int8; None: float32.

    Returns:
        The result of the comparison.

    Raises:
        ValueError: wrong suffix, the run is itself an exported file, a package is missing, or there are no samples.
        RuntimeError: the file does not agree with the run; nothing is written.
    """
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / path.name
        convert(run, draft, calibration=calibration)
        exported = read_exported(draft, device="cpu" if run.device.type == "cpu" else "auto", trust=True)
        runtime = replace(run.config.runtime, precision="32-true")
        full = replace(run, experiment=Experiment(replace(run.config, runtime=runtime)))
        agreement = compare(Segmenter(full), Segmenter(replace(full, network=exported)), samples)
        if agreement.samples == 0:
            raise ValueError(
                f"{path}: no data for the verification. Give scans or photographs, or the run's data.root."
            )
        if not agreement.good(int8=calibration is not None):
            raise _disagreement(path, agreement, int8=calibration is not None)
        for made in sorted(Path(folder).iterdir()):  # the .xml is renamed after its .bin
            write_atomically(path.with_name(made.name), made.read_bytes())
    return agreement


def convert(run: Run, path: Path, *, calibration: Sequence[AnySample] | None = None) -> None:
    """Write a run's network to `path`, whether it agrees with the run or not; arguments and errors as `export`."""
    if path.suffix not in (*FORMATS, OPENVINO):
        raise ValueError(f"{path.name}: must end in {', '.join((*FORMATS, OPENVINO))} or .pt (weights alone).")
    if calibration is not None and path.suffix != OPENVINO:
        raise ValueError(f"{path.name}: int8 is only available for OpenVINO models. Give a name that ends in .xml.")
    if isinstance(run.network, ExportedNetwork):
        raise ValueError(f"{path.name}: an exported file cannot be exported again; give the run that it was made from.")
    if path.suffix == OPENVINO:
        to_openvino(to_onnx(run), describe(run), path, None if calibration is None else _inputs(run, calibration))
    else:
        path.write_bytes(FORMATS[path.suffix](run))


def _disagreement(path: Path, found: Agreement, *, int8: bool) -> RuntimeError:
    logits = f"its logits differ by up to {found.largest_difference:.2g} (at most {LARGEST_DIFFERENCE:g}) and "
    return RuntimeError(
        f"{path}: not written. On {found.samples} real inputs {'' if int8 else logits}{found.differing} of "
        f"{found.elements} labels differ (at most {1 - (LEAST_AGREEMENT_INT8 if int8 else LEAST_AGREEMENT):.2%})."
    )


def _inputs(run: Run, samples: Iterable[AnySample]) -> Iterator[Input]:
    """The channels of scans for the graph, without normalisation."""
    segmenter, data = Segmenter(run), run.config.data
    mean, std = (torch.tensor([*of]).view(-1, 1, 1) for of in (data.mean, data.std))
    for sample in samples:
        view = segmenter.project(sample).view(tuple(data.channels), tuple(data.mean), tuple(data.std))
        yield as_input((view.image * std + mean).numpy(), view.valid.numpy())


def write_weights(run: Run, path: Path) -> None:
    """Write the teacher with the config as a checkpoint, which every command except `--resume` accepts.

    Raises:
        ValueError: the run is itself an exported file.
    """
    if isinstance(run.network, ExportedNetwork):
        raise ValueError(f"{path}: an exported file has no weights to write; give the run that it was made from.")
    state = {"teacher": run.network.state_dict(), "temperature": run.temperature, "statistics": run.statistics}
    write_checkpoint(path, state | stored_classes(run.label_map), run.config)


def compare(own: Segmenter, other: Segmenter, samples: Iterable[AnySample]) -> Agreement:
    """Label the same samples with two segmenters."""
    count = elements = differing = 0
    largest = 0.0
    scores = [ConfusionMatrix(own.label_map.num_classes) for _ in range(2)]
    for count, sample in enumerate(samples, 1):  # noqa: B007 - the count is read after the loop
        image = own.project(sample)
        logits, others = own.logits(image).cpu(), other.logits(image).cpu()  # their devices may differ
        largest = max(largest, (logits - others).abs().max().item())
        answers = own.label(image, logits), other.label(image, others)
        differing += int((answers[0] != answers[1]).sum())
        elements += len(answers[0])
        if sample.label is not None:
            for matrix, labels in zip(scores, answers, strict=True):
                matrix.update(labels, sample.label.reshape(-1))
    scored = (scores[0].mean_iou(), scores[1].mean_iou()) if scores[0].state.any() else None
    return Agreement(count, elements, differing, largest, scored)


def to_onnx(run: Run) -> bytes:
    """The content of a run's ONNX file.

    Raises:
        ValueError: the packages of the extra `export` are missing.
    """
    model, example, shapes = _program(run)
    try:
        with _quiet():
            program: Any = torch.onnx.export(
                model, example, dynamo=True, external_data=False, input_names=["channels", "valid"],
                output_names=["logits"], dynamic_shapes=shapes, verbose=False,
            )  # fmt: skip
    except ImportError as error:
        raise ValueError(f"Export needs more packages ({error}): pip install 'rangeseg[export]'") from error
    program.model.metadata_props[KEY] = json.dumps(describe(run))
    content: bytes = program.model_proto.SerializeToString()
    return content


def to_package(run: Run) -> bytes:
    """The content of a run's .pt2 package, which `torch._inductor.aoti_load_package` loads without our code.

    Raises:
        ValueError: there is no C++ compiler.
    """
    model, example, shapes = _program(run)
    with tempfile.TemporaryDirectory() as folder, _quiet(), torch.no_grad():
        settings = {"aot_inductor.metadata": {KEY: json.dumps(describe(run), ensure_ascii=True)}}
        try:
            program = torch.export.export(model, example, dynamic_shapes=shapes)
            made = torch._inductor.aoti_compile_and_package(
                program, package_path=str(Path(folder) / "network.pt2"), inductor_configs=settings
            )
        except torch._inductor.exc.InvalidCxxCompiler as error:
            raise ValueError(
                "A .pt2 package needs a C++ compiler (g++ or clang++). Install one, or export ONNX."
            ) from error
        return Path(made).read_bytes()


FORMATS = {".onnx": to_onnx, ".pt2": to_package}
"""Suffix of a single-file format -> function that makes its content."""

OPENVINO = ".xml"
"""Suffix of an OpenVINO model, which has a .bin next to it."""


def _program(run: Run) -> tuple[nn.Module, tuple[Tensor, Tensor], dict[str, dict[int, Any]]]:
    """The exported module, example inputs, and their dynamic sizes."""
    data, (rows, columns) = run.config.data, run.network.stride
    model = Normalising(run.network, data.mean, data.std).to(run.device).eval()
    height, width = (-(-64 // step) * step for step in (rows, columns))  # large enough for every network to shrink
    batch, wide = _free("batch", 1), _free("width", columns)
    shapes = {"channels": {0: batch, 3: wide}, "valid": {0: batch, 2: wide}}
    if isinstance(run.experiment.input, ScanInput):
        height = run.experiment.input.size[0]
    else:
        shapes["channels"][2] = shapes["valid"][1] = _free("height", rows)
    example = (
        torch.randn(2, len(data.channels), height, width, device=run.device),
        torch.ones(2, height, width, dtype=torch.bool, device=run.device),
    )
    return model, example, shapes


def describe(run: Run) -> dict[str, Any]:
    """The metadata of a run's file for other programs."""
    config, label_map = run.config, run.label_map
    return {
        "rangeseg": __version__,
        "dataset": label_map.dataset,
        **stored_classes(label_map),
        "colors": [[int(part) for part in color] for color in label_map.colors],
        "channels": list(config.data.channels),
        "mean": list(config.data.mean),
        "std": list(config.data.std),
        "stride": list(run.network.stride),
        "projection": dict(config.data.projection) if isinstance(run.experiment.input, ScanInput) else None,
        "config": write_config(config),
        "statistics": run.statistics,
        "temperature": run.temperature,
    }


def _free(name: str, step: int) -> Any:
    """A dynamic size that is a multiple of `step`."""
    if step == 1:
        return torch.export.Dim(name, min=1)
    return step * torch.export.Dim(f"{name}_of_{step}", min=1)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the exporter's progress and its internal warnings."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
