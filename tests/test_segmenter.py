"""A segmenter labels many scans as it labels one."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import random_scan

from rangeseg import Segmenter
from rangeseg.types import Scan

ROUNDING = 1e-5
"""Bound on what another order of summing may change in a logit, as a share of the scan's largest (measured: 3e-7)."""


@pytest.fixture(scope="module")
def scans() -> list[Scan]:
    rng = np.random.default_rng(5)
    return [random_scan(rng) for _ in range(7)]


def assert_the_same_but_for_rounding(
    segmenter: Segmenter, scans: Sequence[Scan], batches: Sequence[torch.Tensor], labels: Sequence[np.ndarray]
) -> None:
    """The logits of each scan are those of the scan alone, within `ROUNDING`; the labels follow from the logits.

    So a pixel changes its class only where its two largest logits differ by at most twice the bound.
    """
    logits = [one for batch in batches for one in batch]
    assert len(logits) == len(labels) == len(scans)
    for scan, streamed, found in zip(scans, logits, labels, strict=True):
        image = segmenter.project(scan)
        alone = segmenter.logits(image)
        torch.testing.assert_close(streamed, alone, rtol=0, atol=ROUNDING * alone.abs().max().item())
        np.testing.assert_array_equal(found, segmenter.label(image, streamed))


class TestWhatIsGiven:
    """A file or an array in place of a scan."""

    def test_a_file_and_an_array_are_labelled_as_their_scan(
        self, segmenter: Segmenter, scans: list[Scan], tmp_path: Path
    ) -> None:
        table = np.concatenate([scans[0].xyz, scans[0].remission[:, None]], 1)
        table.astype("<f4").tofile(tmp_path / "000000.bin")
        expected = segmenter(scans[0])
        for given in (str(tmp_path / "000000.bin"), tmp_path / "000000.bin", table, torch.from_numpy(table)):
            np.testing.assert_array_equal(segmenter(given), expected)
        np.testing.assert_array_equal(next(segmenter.stream([tmp_path / "000000.bin"])), expected)

    def test_points_without_remission_have_0(self, segmenter: Segmenter, scans: list[Scan]) -> None:
        scan = Scan(scans[0].xyz)
        np.testing.assert_array_equal(scan.remission, np.zeros(len(scan), np.float32))
        expected = segmenter(Scan(scan.xyz, np.zeros(len(scan), np.float32)))
        np.testing.assert_array_equal(segmenter(scan), expected)
        np.testing.assert_array_equal(segmenter(scan.xyz.astype(np.float64)), expected)

    @pytest.mark.parametrize("shape", [(7,), (7, 5), (7, 2), (2, 7, 4)])
    def test_arrays_of_other_shapes_are_refused(self, segmenter: Segmenter, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"The array is float64 of shape .*; give \(N, 4\)"):
            segmenter(np.ones(shape))

    def test_a_missing_file_is_named(self, segmenter: Segmenter) -> None:
        with pytest.raises(ValueError, match=r"absent\.bin"):
            segmenter("absent.bin")


@pytest.mark.parametrize(("workers", "batch"), [(0, 1), (1, 1), (2, 1), (1, 3), (2, 3)])
def test_a_stream_gives_what_each_scan_alone_gives(
    segmenter: Segmenter, scans: list[Scan], workers: int, batch: int
) -> None:
    """With workers, a CPU labels one scan at a time whatever the batch is."""
    streamed = list(segmenter.stream(iter(scans), batch=batch, workers=workers))
    assert len(streamed) == len(scans)
    for scan, labels in zip(scans, streamed, strict=True):
        np.testing.assert_array_equal(labels, segmenter(scan))


def test_a_batch_changes_logits_by_rounding_only(
    segmenter: Segmenter, scans: list[Scan], monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[torch.Tensor] = []
    forward = segmenter._forward
    with monkeypatch.context() as patch:
        patch.setattr(segmenter, "_forward", lambda views: batches.append(forward(views)) or batches[-1])
        labels = list(segmenter.stream(iter(scans), batch=3, workers=0))
    assert [len(batch) for batch in batches] == [3, 3, 1]
    assert_the_same_but_for_rounding(segmenter, scans, batches, labels)


def test_a_stream_on_a_cpu_shares_the_threads_out_and_gives_them_back(
    segmenter: Segmenter, scans: list[Scan], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    forward = segmenter._forward
    monkeypatch.setattr(segmenter, "_forward", lambda views: seen.append(torch.get_num_threads()) or forward(views))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(5)
        list(segmenter.stream(iter(scans), workers=2))
        assert seen == [2] * len(scans)
        assert torch.get_num_threads() == 5
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("batch", [1, 3])
def test_beside_another_device_workers_compute_with_one_thread_each(
    segmenter: Segmenter, scans: list[Scan], batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its network is on the CPU all the same; the conveyor belt is the one of a GPU."""
    seen = {"read": set(), "network": set(), "write": set()}
    batches: list[torch.Tensor] = []

    def forward(views: Sequence[torch.Tensor]) -> torch.Tensor:
        batches.append(look("network", segmenter._forward(views)))
        return batches[-1]

    def look(place: str, what: Any) -> Any:
        seen[place].add((torch.get_num_threads(), threading.current_thread() is threading.main_thread()))
        return what

    belt = Segmenter(replace(segmenter.run, device=torch.device("xpu")))
    monkeypatch.setattr(belt, "_forward", forward)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(5)
        found = list(
            belt.stream(
                iter(scans), lambda scan: look("read", scan), lambda _, __, labels: look("write", labels),
                batch=batch, workers=2,
            )
        )  # fmt: skip
        assert torch.get_num_threads() == 5
    finally:
        torch.set_num_threads(before)
    assert seen["read"] == seen["write"] == {(1, False)}
    assert {main for _, main in seen["network"]} == {True}
    assert max(map(len, batches)) == batch
    assert_the_same_but_for_rounding(segmenter, scans, batches, found)


def test_items_are_read_ahead_written_behind_and_passed_by(segmenter: Segmenter, scans: list[Scan]) -> None:
    written = {}

    def write(name: int, scan: Scan, labels: np.ndarray) -> str:
        written[name] = len(labels) == len(scan)
        return f"{name} done"

    done = segmenter.stream(range(6), lambda name: scans[name] if name % 3 else None, write, batch=2)
    assert list(done) == [None, "1 done", "2 done", None, "4 done", "5 done"]
    assert written == {1: True, 2: True, 4: True, 5: True}


def test_a_stream_without_end_is_labelled_as_it_comes(segmenter: Segmenter, scans: list[Scan]) -> None:
    taken = 0

    def sensor() -> Iterator[Scan]:
        nonlocal taken
        while True:
            taken += 1
            yield scans[taken % len(scans)]

    labels = segmenter.stream(sensor())
    for _ in range(3):
        next(labels)
    assert taken < 15
    labels.close()


def test_a_batch_of_nothing_is_refused(segmenter: Segmenter, scans: list[Scan]) -> None:
    with pytest.raises(ValueError, match="a batch of 0; give 1 or more"):
        next(segmenter.stream(scans, batch=0, workers=0))


def test_an_unreadable_scan_ends_the_stream_after_those_before_it(segmenter: Segmenter, scans: list[Scan]) -> None:
    def read(name: int) -> Scan:
        if name == 2:
            raise ValueError("000002.bin: is no scan.")
        return scans[name]

    labels = segmenter.stream(range(5), read, lambda name, scan, found: name)
    assert [next(labels), next(labels)] == [0, 1]
    with pytest.raises(ValueError, match=r"000002\.bin: is no scan"):
        next(labels)


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="there is no C++ compiler")
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")  # by torch itself
def test_compiled_it_gives_the_same_labels(segmenter: Segmenter, scans: list[Scan]) -> None:
    compiled = Segmenter.load("first-answer", device="cpu", compile=True)
    for scan in scans[:2]:
        assert (compiled(scan) != segmenter(scan)).mean() < 1e-3


def test_labels_do_not_need_gradients(segmenter: Segmenter, scans: list[Scan]) -> None:
    image = segmenter.project(scans[0])
    logits = segmenter.logits(image)
    assert not logits.requires_grad
    np.testing.assert_array_equal(segmenter.label(image, logits), segmenter(scans[0]))
    assert torch.equal(logits, segmenter.logits(image))
