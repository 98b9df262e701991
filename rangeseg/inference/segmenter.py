"""A trained run as one function: from a scan to point labels, or from a photograph to pixel labels.

A stream of scans uses all cores. On a CPU, each thread processes a whole scan, because several forward passes with one
thread each are faster than one with several threads. On a GPU, the stages overlap: while the network runs on one scan,
threads read and project the next one and label the points of the previous one.
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
from rangeseg.inference.segmentation import Segmentation, Softmax
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
"""Returns the network's output for a batch, in host memory; waits for it if necessary."""


@dataclass(frozen=True)
class PreparedInput:
    """A prepared input of the network; `sample` is None for an item to skip.

    Args:
        item: the item of the stream.
        sample: the scan or photograph.
        image: its range image or padded image.
        view: (C, H, W) input of the network.
    """

    item: Any
    sample: AnySample | None = None
    image: PixelImage | None = None
    view: Tensor | None = None


class Segmenter:
    """Labels every point of a scan, or every pixel of a photograph, with a trained teacher.

    Args:
        run: a loaded run.
        compile: use torch.compile, once for each image size; needs a C++ compiler and half a minute.
    """

    def __init__(self, run: Run, *, compile: bool = False) -> None:
        self.run = run
        experiment = run.experiment
        self._projection: Any = experiment.input.rasteriser(run.network.stride)
        disable_first_scan_check(self._projection)
        self.domain_check = DomainCheck(run)
        """The check of every projected scan; a scan that does not fit the run gives a notice."""
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
            path: folder (its last checkpoint) or file; None: the default network, `any-lidar`.
            device: a torch device, or auto.
            overrides: `key.path=value` entries that override the run's config.
            compile: see `Segmenter`.
            trust: allow the file to run code, see `Run.load`.

        Raises:
            ValueError: there is no complete checkpoint, or it needs `trust`.
        """
        return Segmenter(Run.load(path, device=device, overrides=overrides, trust=trust), compile=compile)

    @property
    def label_map(self) -> LabelMap:
        """The classes."""
        return self.run.label_map

    @property
    def workers(self) -> int:
        """Default number of threads: all of torch's threads for a CPU, half of the cores for a GPU; at most 8."""
        threads = torch.get_num_threads() if self.run.device.type == "cpu" else (os.cpu_count() or 1) // 2
        return max(1, min(8, threads))

    def project(self, sample: AnySample) -> PixelImage:
        """The range image of a scan, or the padded image of a photograph."""
        if isinstance(sample, Sample):
            image = cast(PixelImage, sample.raster)
        else:
            image = self._projection(guarded(sample) if isinstance(sample, Scan) else sample)
        self.domain_check.check(image)
        return image

    def logits(self, image: PixelImage) -> Tensor:
        """(K, H, W) logits of a range image or padded image, on the device of the run.

        Raises:
            ValueError: the logits contain nan.
        """
        logits = self._forward([self.view(image)])
        check_not_nan(contains_nan(logits).cpu(), [_name_of(image)])
        return logits[0]

    def label(self, image: PixelImage, logits: Tensor) -> Labels:
        """(K, H, W) -> (N,) train ids of the elements."""
        return self._labels(image, network_output(logits[None], self._back_projection)[0])

    def __call__(self, given: InputLike, *, confidence: bool = True) -> Segmentation:
        """Label the points of a scan, or the pixels of a photograph, row by row.

        Args:
            given: a scan or a photograph, its file, or an array or cloud; see `rangeseg.inference.inputs.as_sample`.
            confidence: also compute confidence and entropy (7 ms for 131,072 pixels and 19 classes on one core).

        Raises:
            ValueError: the file cannot be read, the array has a wrong shape, or the network's output contains nan.
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
        entropy: bool = True,
    ) -> Iterator[Any]:
        """Label a stream of scans or photographs of any length, in order. Only a few are in memory at a time.

        With threads, the labels of a scan may come one scan late. For a live sensor, use ``workers=0``.

        Args:
            items: arguments of `__call__`, or of `read`.
            read: item -> scan, photograph, file or array, called before the network; returns None to skip an item.
            write: (item, scan or photograph, labels) -> result, called after the network.
            batch: number of images of one size per forward pass on a GPU; on a CPU it is one.
            workers: on a CPU, number of threads, each with one scan; on a GPU, number of threads before the network
                and again after it; 0: no threads; None: the default of the device.
            confidence: give `write` a `Segmentation` with confidence in place of the labels.
            entropy: with `confidence`, also compute the entropy.

        Yields:
            (N,) train ids, or the result of `write`; None for skipped items.

        Raises:
            ValueError: a scan or photograph cannot be read, a scan has no points or no returns, `batch` is below 1, or
                the network's output contains nan. The results of the items before are yielded first.
        """
        workers = self.workers if workers is None else workers
        side_by_side = self.run.device.type == "cpu" and workers > 0
        threads = torch.get_num_threads()
        label = partial(self._segmentation, entropy=entropy) if confidence else self._labels

        def prepare(item: Any) -> PreparedInput:
            if (given := read(item)) is None:
                return PreparedInput(item)
            image = self.project(sample := as_sample(given, self.run.experiment))
            return PreparedInput(item, sample, image, self._input_view(sample, image))

        def finish(pair: tuple[PreparedInput, PendingOutput | None]) -> Any:
            prepared, output = pair
            if output is None or prepared.sample is None or prepared.image is None:
                return None
            return write(prepared.item, prepared.sample, label(prepared.image, output()))

        def process(item: Any) -> Any:
            return finish(next(self._infer(iter([prepare(item)]), 1, confidence)))

        share = max(1, threads // workers) if side_by_side else 1  # otherwise each worker would use all threads
        work = partial(in_order, workers=workers, start=partial(torch.set_num_threads, share))
        try:
            if side_by_side:
                yield from work(process, items)
            else:
                yield from work(finish, self._infer(work(prepare, items), batch, confidence))
        finally:
            torch.set_num_threads(threads)  # the default for threads that start later

    def _infer(
        self, prepared: Iterator[PreparedInput], batch: int, whole: bool
    ) -> Iterator[tuple[PreparedInput, PendingOutput | None]]:
        """Yield each item with a function that returns the network's output. Does not wait for a GPU."""
        for group in in_groups(prepared, batch, lambda one: None if one.view is None else one.view.shape):
            views = [one.view for one in group if one.view is not None]
            if not views:
                yield from ((one, None) for one in group)
                continue
            names = [_name_of(one.image) for one in group if one.image is not None]
            output = self._to_host(self._forward(views), names, whole)
            yield from ((one, partial(_select, output, index)) for index, one in enumerate(group))

    def _to_host(self, logits: Tensor, names: Sequence[str], whole: bool) -> PendingOutput:
        """(B, K, H, W) -> a function that waits, in any thread, for the copy from the GPU and returns it.

        `whole` copies the logits; otherwise, only what the back-projection reads.
        """
        if logits.device.type != "cuda":
            check_not_nan(contains_nan(logits), names)
            output = logits.float().cpu().numpy() if whole else network_output(logits, self._back_projection)
            return lambda: output
        wanted = logits.float() if whole or self._back_projection.reads_logits else argmax_on_device(logits)
        copied, nan = _copy_to_host(wanted), _copy_to_host(contains_nan(logits))
        arrived = torch.cuda.Event(blocking=True)  # waiting threads sleep
        arrived.record(torch.cuda.current_stream(logits.device))

        def wait() -> NDArray[Any]:
            arrived.synchronize()
            check_not_nan(nan, names)
            values: NDArray[Any] = copied.numpy()
            return values

        return wait

    def _input_view(self, sample: AnySample, image: PixelImage) -> Tensor:
        view = sample.view.image if isinstance(sample, Sample) else self.view(image)
        return view.pin_memory() if self.run.device.type == "cuda" and not view.is_pinned() else view

    def view(self, image: PixelImage) -> Tensor:
        """(C, H, W) input of the network, in pinned memory if the device is a GPU."""
        data = self.run.config.data
        view = image.view(tuple(data.channels), tuple(data.mean), tuple(data.std)).image
        return view.pin_memory() if self.run.device.type == "cuda" else view

    def _forward(self, views: Sequence[Tensor]) -> Tensor:
        device = self.run.device
        moved = [view.to(device, non_blocking=True) for view in views]
        with torch.inference_mode():
            return self._network(torch.stack(moved))

    def segmentation(self, image: PixelImage, logits: Tensor, *, entropy: bool = True) -> Segmentation:
        """(K, H, W) logits -> labels, with confidence and, if requested, entropy at the run's temperature."""
        planes = logits.float().cpu()
        softmax = Softmax(planes, self.run.temperature, entropy=entropy)
        labels = self._labels(image, planes.numpy() if self._back_projection.reads_logits else softmax.labels)
        return Segmentation(labels, _of(image), self.label_map, *softmax.of_elements(image, labels))

    def _segmentation(self, image: PixelImage, logits: NDArray[Any], *, entropy: bool) -> Segmentation:
        return self.segmentation(image, torch.from_numpy(logits), entropy=entropy)

    def _labels(self, image: PixelImage, output: NDArray[Any]) -> Labels:
        labels: Labels = self._back_projection(image, output, self.label_map.num_classes)
        return labels


def _copy_to_host(values: Tensor) -> Tensor:
    """An asynchronous copy in host memory; complete when the stream has reached this point."""
    copied = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    return copied.copy_(values, non_blocking=True)


def _name_of(image: PixelImage) -> str:
    return _of(image).where or "a scan or photograph"


def _of(image: PixelImage) -> Scan | Photo:
    """The scan, in the frame of its file, or the photograph."""
    return image.given if isinstance(image, RangeImage) else image.photo


def _select(output: PendingOutput, index: int) -> NDArray[Any]:
    one: NDArray[Any] = output()[index]
    return one
