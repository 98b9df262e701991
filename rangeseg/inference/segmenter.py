"""A trained run as one function: from a scan to point labels, or from a photograph to pixel labels.

Many scans keep a machine busy. On a CPU each thread takes a scan all the way, since many forward passes of one thread
each are faster than one of many threads. A GPU has a conveyor belt: while the network is at work on one scan, threads
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
from rangeseg.evaluation.evaluate import answer, check_answer, nan_answers
from rangeseg.inference.given import Given, Thing, as_thing
from rangeseg.inference.run import Run
from rangeseg.inference.run_fit import RunFit
from rangeseg.inference.segmentation import Segmentation, confidence_and_entropy
from rangeseg.labels import LabelMap
from rangeseg.parallel import in_groups, in_order
from rangeseg.photos.padded_image import PaddedImage
from rangeseg.projection.checks import look_oneself
from rangeseg.projection.range_image import RangeImage
from rangeseg.registry import Trust
from rangeseg.scan_formats.checks import guarded
from rangeseg.types import Photo, Sample, Scan

Drawn = RangeImage | PaddedImage
Labels = NDArray[np.uint8]
Answer = Callable[[], NDArray[Any]]
"""What back-projection reads of the pixels, when it is asked for."""


@dataclass(frozen=True)
class Ready:
    """A prepared input of the network; `thing` is None for an item to skip.

    Args:
        item: what was asked for.
        thing: what was read.
        image: its range image or padded image.
        view: (C, H, W) what the network reads.
    """

    item: Any
    thing: Thing | None = None
    image: Drawn | None = None
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
        look_oneself(self._projection)
        self.fit = RunFit(run)
        """What was found of the scans: they are looked at, and told of, when they are projected."""
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

    def project(self, thing: Thing) -> Drawn:
        """What the network reads: a scan's range image, or a photograph's padded one."""
        if isinstance(thing, Sample):
            image = cast(Drawn, thing.raster)
        else:
            image = self._projection(guarded(thing) if isinstance(thing, Scan) else thing)
        self.fit.look(image)
        return image

    def logits(self, image: Drawn) -> Tensor:
        """(K, H, W) of a range image or padded image, on the run's device.

        Raises:
            ValueError: there is a nan among them.
        """
        logits = self._forward([self.view(image)])
        check_answer(nan_answers(logits).cpu(), [_name_of(image)])
        return logits[0]

    def label(self, image: Drawn, logits: Tensor) -> Labels:
        """(K, H, W) -> (N,) train ids of the elements."""
        answered = answer(logits[None], self._back_projection)[0]
        labels: Labels = self._back_projection(image, answered, self.label_map.num_classes)
        return labels

    def __call__(self, given: Given, *, confidence: bool = True) -> Segmentation:
        """Label the points of a scan, or the pixels of a photograph, row by row.

        Args:
            given: a scan or a photograph, its file, or an array or cloud; see `rangeseg.inference.given.as_thing`.
            confidence: tell how sure each label is, too (7 ms for 131,072 pixels and 19 classes on one core).

        Raises:
            ValueError: the file cannot be read, the array has another shape, or the network's answer holds nan.
        """
        image = self.project(as_thing(given, self.run.experiment))
        logits = self.logits(image)
        if confidence:
            return self._sure(image, logits.float().cpu().numpy())
        return Segmentation(self.label(image, logits), _of(image), self.label_map)

    def stream(
        self,
        items: Iterable[Any],
        read: Callable[[Any], Given | None] = lambda item: item,
        write: Callable[[Any, Thing, Any], Any] = lambda item, thing, labels: labels,
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

        def prepare(item: Any) -> Ready:
            given = read(item)
            if given is None:
                return Ready(item)
            thing = as_thing(given, self.run.experiment)
            image = self.project(thing)
            return Ready(item, thing, image, self._seen(thing, image))

        def finish(asked: tuple[Ready, Answer | None]) -> Any:
            ready, arrive = asked
            if arrive is None or ready.thing is None or ready.image is None:
                return None
            return write(ready.item, ready.thing, (self._sure if confidence else self._labels)(ready.image, arrive()))

        def all_the_way(item: Any) -> Any:
            return finish(next(self._asked(iter([prepare(item)]), 1, confidence)))

        share = max(1, threads // workers) if side_by_side else 1  # a team of threads for each would be too many
        work = partial(in_order, workers=workers, start=partial(torch.set_num_threads, share))
        try:
            if side_by_side:
                yield from work(all_the_way, items)
            else:
                yield from work(finish, self._asked(work(prepare, items), batch, confidence))
        finally:
            torch.set_num_threads(threads)  # what threads yet to come begin with

    def _asked(self, ready: Iterator[Ready], batch: int, whole: bool) -> Iterator[tuple[Ready, Answer | None]]:
        """Each item with what tells the network's answer; runs where the network does, and does not wait for a GPU."""
        for group in in_groups(ready, batch, lambda one: None if one.view is None else one.view.shape):
            views = [one.view for one in group if one.view is not None]
            if not views:
                yield from ((one, None) for one in group)
                continue
            names = [_name_of(one.image) for one in group if one.image is not None]
            answers = self._on_its_way(self._forward(views), names, whole)
            yield from ((one, partial(_one_of, answers, index)) for index, one in enumerate(group))

    def _on_its_way(self, logits: Tensor, names: Sequence[str], whole: bool) -> Answer:
        """(B, K, H, W) -> what waits, on any thread, until the answers have left the GPU; on a CPU they are there.

        Where the `whole` is asked for the answers are the logits.
        """
        if logits.device.type != "cuda":
            check_answer(nan_answers(logits), names)
            answers = logits.float().cpu().numpy() if whole else answer(logits, self._back_projection)
            return lambda: answers
        wanted = logits.float() if whole or self._back_projection.reads_logits else argmax_on_device(logits)
        here, nan = _leaving(wanted), _leaving(nan_answers(logits))
        arrived = torch.cuda.Event(blocking=True)  # waiting threads sleep
        arrived.record(torch.cuda.current_stream(logits.device))

        def wait() -> NDArray[Any]:
            arrived.synchronize()
            check_answer(nan, names)
            there: NDArray[Any] = here.numpy()
            return there

        return wait

    def _seen(self, thing: Thing, image: Drawn) -> Tensor:
        view = thing.view.image if isinstance(thing, Sample) else self.view(image)
        return view.pin_memory() if self.run.device.type == "cuda" and not view.is_pinned() else view

    def view(self, image: Drawn) -> Tensor:
        """(C, H, W) what the network reads, in memory from which a GPU copies while others compute."""
        data = self.run.config.data
        view = image.view(tuple(data.channels), tuple(data.mean), tuple(data.std)).image
        return view.pin_memory() if self.run.device.type == "cuda" else view

    def _forward(self, views: Sequence[Tensor]) -> Tensor:
        device = self.run.device
        moved = [view.to(device, non_blocking=True) for view in views]
        with torch.inference_mode():
            return self._network(torch.stack(moved))

    def _sure(self, image: Drawn, logits: NDArray[Any]) -> Segmentation:
        """(K, H, W) -> the labels, and how sure they are."""
        planes = torch.from_numpy(logits)
        labels = self.label(image, planes)
        return Segmentation(labels, _of(image), self.label_map, *confidence_and_entropy(image, labels, planes))

    def _labels(self, image: Drawn, answer: NDArray[Any]) -> Labels:
        labels: Labels = self._back_projection(image, answer, self.label_map.num_classes)
        return labels


def _leaving(values: Tensor) -> Tensor:
    """A copy on the CPU that is there when the GPU has come so far."""
    here = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    return here.copy_(values, non_blocking=True)


def _name_of(image: Drawn) -> str:
    return _of(image).where or "a scan or photograph"


def _of(image: Drawn) -> Scan | Photo:
    """What was projected."""
    return image.scan if isinstance(image, RangeImage) else image.photo


def _one_of(answers: Answer, index: int) -> NDArray[Any]:
    one: NDArray[Any] = answers()[index]
    return one
