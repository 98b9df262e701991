"""A trained run as one function: from a scan to point labels, or from a photograph to pixel labels.

Many scans keep a machine busy. On a CPU each thread processes a whole scan, since many forward passes of one thread
each are faster than one of many threads. On a GPU the stages overlap: while the network runs on one scan, threads
read and project the next and label the points of the last.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rangeseg.evaluation.argmax import argmax_on_device
from rangeseg.evaluation.evaluate import check_not_nan, contains_nan, network_output
from rangeseg.inference.domain_check import DomainCheck
from rangeseg.inference.inputs import AnySample, InputLike, as_sample
from rangeseg.inference.run import Run
from rangeseg.inference.segmentation import Segmentation, confidence_and_entropy
from rangeseg.labels import LabelMap
from rangeseg.parallel import in_groups, in_order
from rangeseg.photos.padded_image import PaddedImage
from rangeseg.projection.checks import disable_first_scan_check
from rangeseg.projection.range_image import RangeImage
from rangeseg.registry import Trust
from rangeseg.scan_formats.checks import guarded
from rangeseg.types import Photo, Sample, Scan

PixelImage = RangeImage | PaddedImage
Labels = NDArray[np.uint8]
PendingOutput = Callable[[], NDArray[Any]]
"""Returns the network's output of a batch, in host memory, and waits for it if necessary."""


@dataclass(frozen=True)
class PreparedInput:
    """A prepared input of the network; `sample` is None for an item to skip.

    Args:
        item: what was asked for.
        sample: what was read.
        image: its range image or padded image.
        view: (C, H, W) what the network reads.
    """

    item: Any
    sample: AnySample | None = None
    image: PixelImage | None = None
    view: Tensor | None = None


class Segmenter:
    """Labels every point of a scan, or every pixel of a photograph, with a trained teacher.

    Args:
        run: a loaded run.
        compile: the network by torch.compile, anew for each size of image; needs a C++ compiler and half a minute.
    """

    def __init__(self, run: Run, *, compile: bool = False) -> None:
        self.run = run
        experiment = run.experiment
        self._projection: Any = experiment.input.rasteriser(run.network.stride)
        disable_first_scan_check(self._projection)
        self.domain_check = DomainCheck(run)
        """Checks of every scan that is projected; a scan that does not fit the run gives a notice."""
        self._back_projection = experiment.back_projection
        self._network = experiment.inference_model(run.network, compile=compile)

    @staticmethod
    def load(
        path: str | Path | None = None,
        *,
        device: str = "auto",
        overrides: Sequence[str] = (),
        compile: bool = False,
        trust: Trust = False,
    ) -> Segmenter:
        """Load a run folder or a checkpoint.

        Args:
            path: folder (its last checkpoint) or file; None: the network that ships with rangeseg, for a first answer.
            device: a torch device, or auto.
            overrides: `key.path=value` above the run's config.
            compile: see `Segmenter`.
            trust: the file may run code of its own, see `Run.load`.

        Raises:
            ValueError: no whole checkpoint there, or one that is to be trusted first.
        """
        return Segmenter(Run.load(path, device=device, overrides=overrides, trust=trust), compile=compile)

    @property
    def label_map(self) -> LabelMap:
        """The classes the labels stand for."""
        return self.run.label_map

    @property
    def workers(self) -> int:
        """Threads that suit the device: of a CPU's all, beside a GPU half of the cores; up to 8."""
        threads = torch.get_num_threads() if self.run.device.type == "cpu" else (os.cpu_count() or 1) // 2
        return max(1, min(8, threads))

    def project(self, sample: AnySample) -> PixelImage:
        """What the network reads: a scan's range image, or a photograph's padded one."""
        if isinstance(sample, Sample):
            image = cast(PixelImage, sample.raster)
        else:
            image = self._projection(guarded(sample) if isinstance(sample, Scan) else sample)
        self.domain_check.check(image)
        return image

    def logits(self, image: PixelImage) -> Tensor:
        """(K, H, W) of a range image or padded image, on the run's device.

        Raises:
            ValueError: there is a nan among them.
        """
        logits = self._forward([self.view(image)])
        check_not_nan(contains_nan(logits).cpu(), [_name_of(image)])
        return logits[0]

    def label(self, image: PixelImage, logits: Tensor) -> Labels:
        """(K, H, W) -> (N,) train ids of the elements."""
        answered = network_output(logits[None], self._back_projection)[0]
        labels: Labels = self._back_projection(image, answered, self.label_map.num_classes)
        return labels

    def __call__(self, given: InputLike, *, confidence: bool = True) -> Segmentation:
        """Label the points of a scan, or the pixels of a photograph, row by row.

        Args:
            given: a scan or a photograph, its file, or an array or cloud; see `rangeseg.inference.inputs.as_sample`.
            confidence: tell how sure each label is, too (7 ms for 131,072 pixels and 19 classes on one core).

        Raises:
            ValueError: the file cannot be read, the array has another shape, or the network's answer holds nan.
        """
        image = self.project(as_sample(given, self.run.experiment))
        logits = self.logits(image)
        if confidence:
            return self.segmentation(image, logits)
        return Segmentation(self.label(image, logits), _of(image), self.label_map)

    def stream(
        self,
        items: Iterable[Any],
        read: Callable[[Any], InputLike | None] = lambda item: item,
        write: Callable[[Any, AnySample, Any], Any] = lambda item, sample, labels: labels,
        *,
        batch: int = 1,
        workers: int | None = None,
        confidence: bool = False,
    ) -> Iterator[Any]:
        """Label many, in order, in any number: only a few are in memory at a time.

        Args:
            items: what `__call__` takes, or what `read` makes into such.
            read: item -> scan, photograph, file or array, ahead of the network; None: there is nothing to do for it.
            write: (item, scan or photograph, labels) -> what comes out, behind the network.
            batch: how many of one size go through the network at once on a GPU; on a CPU it is one.
            workers: threads that take a scan each on a CPU, or are ahead of a GPU, and as many behind it; 0 for none,
                None for what suits the device.
            confidence: `write` is given a `Segmentation` that tells how sure each label is, in place of the labels.

        Yields:
            (N,) train ids, or what `write` made of them; None for an item that `read` gave None for.

        Raises:
            ValueError: the network's answer holds nan.
        """
        workers = self.workers if workers is None else workers
        side_by_side = self.run.device.type == "cpu" and workers > 0
        threads = torch.get_num_threads()

        def prepare(item: Any) -> PreparedInput:
            if (given := read(item)) is None:
                return PreparedInput(item)
            sample = as_sample(given, self.run.experiment)
            image = self.project(sample)
            return PreparedInput(item, sample, image, self._input_view(sample, image))

        def finish(pair: tuple[PreparedInput, PendingOutput | None]) -> Any:
            prepared, output = pair
            if output is None or prepared.sample is None or prepared.image is None:
                return None
            finished = (self._segmentation if confidence else self._labels)(prepared.image, output())
            return write(prepared.item, prepared.sample, finished)

        def process(item: Any) -> Any:
            return finish(next(self._infer(iter([prepare(item)]), 1, confidence)))

        share = max(1, threads // workers) if side_by_side else 1  # a team of threads for each would be too many
        work = partial(in_order, workers=workers, start=partial(torch.set_num_threads, share))
        try:
            if side_by_side:
                yield from work(process, items)
            else:
                yield from work(finish, self._infer(work(prepare, items), batch, confidence))
        finally:
            torch.set_num_threads(threads)  # what threads yet to come begin with

    def _infer(
        self, prepared: Iterator[PreparedInput], batch: int, whole: bool
    ) -> Iterator[tuple[PreparedInput, PendingOutput | None]]:
        """Each item with a function that returns the network's output. It does not wait for a GPU."""
        for group in in_groups(prepared, batch, lambda one: None if one.view is None else one.view.shape):
            views = [one.view for one in group if one.view is not None]
            if not views:
                yield from ((one, None) for one in group)
                continue
            names = [_name_of(one.image) for one in group if one.image is not None]
            answers = self._to_host(self._forward(views), names, whole)
            yield from ((one, partial(_select, answers, index)) for index, one in enumerate(group))

    def _to_host(self, logits: Tensor, names: Sequence[str], whole: bool) -> PendingOutput:
        """(B, K, H, W) -> a function that waits, in any thread, for the copy from the GPU and returns it.

        `whole` copies the logits; otherwise, only what the back-projection reads.
        """
        if logits.device.type != "cuda":
            check_not_nan(contains_nan(logits), names)
            answers = logits.float().cpu().numpy() if whole else network_output(logits, self._back_projection)
            return lambda: answers
        wanted = logits.float() if whole or self._back_projection.reads_logits else argmax_on_device(logits)
        here, nan = _copy_to_host(wanted), _copy_to_host(contains_nan(logits))
        arrived = torch.cuda.Event(blocking=True)  # waiting threads sleep
        arrived.record(torch.cuda.current_stream(logits.device))

        def wait() -> NDArray[Any]:
            arrived.synchronize()
            check_not_nan(nan, names)
            there: NDArray[Any] = here.numpy()
            return there

        return wait

    def _input_view(self, sample: AnySample, image: PixelImage) -> Tensor:
        view = sample.view.image if isinstance(sample, Sample) else self.view(image)
        return view.pin_memory() if self.run.device.type == "cuda" and not view.is_pinned() else view

    def view(self, image: PixelImage) -> Tensor:
        """(C, H, W) what the network reads, in memory from which a GPU copies while others compute."""
        data = self.run.config.data
        view = image.view(tuple(data.channels), tuple(data.mean), tuple(data.std)).image
        return view.pin_memory() if self.run.device.type == "cuda" else view

    def _forward(self, views: Sequence[Tensor]) -> Tensor:
        device = self.run.device
        moved = [view.to(device, non_blocking=True) for view in views]
        with torch.inference_mode():
            return self._network(torch.stack(moved))

    def segmentation(self, image: PixelImage, logits: Tensor) -> Segmentation:
        """(K, H, W) logits -> the labels, and how sure they are, by the run's temperature."""
        planes = logits.float().cpu()
        labels = self.label(image, planes)
        sure = confidence_and_entropy(image, labels, planes, self.run.temperature)
        return Segmentation(labels, _of(image), self.label_map, *sure)

    def _segmentation(self, image: PixelImage, logits: NDArray[Any]) -> Segmentation:
        return self.segmentation(image, torch.from_numpy(logits))

    def _labels(self, image: PixelImage, answer: NDArray[Any]) -> Labels:
        labels: Labels = self._back_projection(image, answer, self.label_map.num_classes)
        return labels


def _copy_to_host(values: Tensor) -> Tensor:
    """An asynchronous copy in host memory; complete when the stream has reached this point."""
    here = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    return here.copy_(values, non_blocking=True)


def _name_of(image: PixelImage) -> str:
    return _of(image).where or "a scan or photograph"


def _of(image: PixelImage) -> Scan | Photo:
    """What was projected."""
    return image.scan if isinstance(image, RangeImage) else image.photo


def _select(answers: PendingOutput, index: int) -> NDArray[Any]:
    one: NDArray[Any] = answers()[index]
    return one
