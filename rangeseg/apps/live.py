"""`rangeseg live`: labels the clouds of a topic, and publishes the labelled clouds on another topic.

While a cloud is being labelled, only the newest of the later clouds waits; the others are dropped. Transports
(`rangeseg.apps.dds`, `rangeseg.apps.rclpy_node`) carry serialised clouds; all else is the same for each of them.
"""

from __future__ import annotations

import threading
import time
import warnings
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from rangeseg.apps.predict_recording import Labelling
from rangeseg.inference.domain_check import DomainCheck
from rangeseg.inference.inputs import columns_of_run
from rangeseg.inference.segmenter import Segmenter
from rangeseg.scan_formats.cdr import decode_cloud, encode_cloud
from rangeseg.scan_formats.checks import NoReturnsError
from rangeseg.scan_formats.fields import FieldNames, Fields
from rangeseg.scan_formats.point_cloud2 import points_of_cloud
from rangeseg.scan_formats.scales import Columns, ring_limits

DIAGNOSE_EVERY_S = 1.0

RECENT = 1000
"""Number of scans over which the percentiles of the latency are computed."""


class Transport(Protocol):
    """Receives clouds and publishes labelled clouds, serialised as CDR."""

    def receive(self, wait_s: float) -> list[bytes]:
        """The received clouds, oldest first; empty if none arrives within `wait_s` seconds."""
        ...

    def send(self, cloud: bytes) -> None:
        """Publish a labelled cloud."""
        ...

    def diagnose(self, level: int, message: str, values: dict[str, str]) -> None:
        """Publish a status: level 0 good, 1 warning, 2 error."""
        ...

    def close(self) -> None:
        """Disconnect."""
        ...


@dataclass
class Counts:
    """Counts and latencies of a session.

    Args:
        labelled: number of labelled scans.
        latencies_ms: time from the arrival of a scan until its labels are sent, milliseconds; of the last `RECENT`
            labelled scans.
        dropped: number of scans that a newer one replaced before they were labelled.
        refused: number of messages that are not a valid scan.
        reason: error of the last of these messages.
    """

    labelled: int = 0
    latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))
    dropped: int = 0
    refused: int = 0
    reason: str = ""

    def percentiles(self) -> dict[str, float]:
        """Median, percentiles 90 and 99, and maximum of the latency, milliseconds; empty before the first scan."""
        if not self.latencies_ms:
            return {}
        found = np.percentile(self.latencies_ms, [50, 90, 99, 100])
        return dict(zip(("p50", "p90", "p99", "max"), found.tolist(), strict=True))

    def __str__(self) -> str:
        times = ", ".join(f"{name} {value:.1f} ms" for name, value in self.percentiles().items())
        refused = f", {self.refused} refused ({self.reason})" if self.refused else ""
        return f"{self.labelled} scans labelled, {self.dropped} dropped{refused}; latency {times or 'unknown'}"


class LatestCloud:
    """Receives clouds in a thread and keeps the newest one; an older one that was not taken is dropped and counted."""

    def __init__(self, transport: Transport, counts: Counts) -> None:
        self._transport, self._counts = transport, counts
        self._waiting: tuple[float, bytes] | None = None
        self._failure: Exception | None = None
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        try:
            self._receive()
        except Exception as error:
            with self._changed:
                self._failure = error
                self._changed.notify()

    def _receive(self) -> None:
        while not self._stopped.is_set():
            for raw in self._transport.receive(0.05):
                with self._changed:
                    self._counts.dropped += self._waiting is not None
                    self._waiting = (time.perf_counter(), raw)
                    self._changed.notify()

    def take(self, wait_s: float) -> tuple[float, bytes] | None:
        """Time of arrival (`time.perf_counter`) and the newest cloud; None if there is none within `wait_s` seconds.

        Raises:
            RuntimeError: the transport failed, so no cloud will come.
        """
        with self._changed:
            if self._waiting is None and self._failure is None:
                self._changed.wait(wait_s)
            if self._failure is not None:
                raise RuntimeError(f"No more clouds can be received: {self._failure}") from self._failure
            taken, self._waiting = self._waiting, None
            return taken

    def stop(self) -> None:
        """Stop the thread."""
        self._stopped.set()
        self._thread.join()


def run_live(
    segmenter: Segmenter,
    transport: Transport,
    labelling: Labelling,
    *,
    fields: FieldNames | None = None,
    limit_ms: float = 100.0,
    keep_running: Callable[[], bool] = lambda: True,
) -> Counts:
    """Label clouds as they arrive, until `keep_running` returns False.

    Args:
        segmenter: the run.
        transport: receives and publishes clouds; closed at the end.
        labelling: the form of the labelled clouds.
        fields: column names that replace those of the run and the common ones.
        limit_ms: a 99th percentile of the latency above it, milliseconds, gives a warning on /diagnostics.
        keep_running: called after each cloud, and every 0.1 s while no cloud arrives.

    Raises:
        RuntimeError: the transport failed.
    """
    _warm_up(segmenter)
    counts, found, diagnosed_at, refused = Counts(), None, 0.0, 0
    newest = LatestCloud(transport, counts)
    try:
        while keep_running():
            if (taken := newest.take(0.1)) is not None:
                try:
                    found, answer = _answer(segmenter, taken[1], labelling, found, fields or {})
                    transport.send(answer)
                    counts.labelled += 1
                    counts.latencies_ms.append(1e3 * (time.perf_counter() - taken[0]))
                except ValueError as error:
                    counts.refused, counts.reason = counts.refused + 1, str(error)
            if time.monotonic() - diagnosed_at > DIAGNOSE_EVERY_S:
                unlike = bool(segmenter.domain_check.misfit(""))
                _diagnose(transport, counts, limit_ms, failing=counts.refused > refused, unlike=unlike)
                diagnosed_at, refused = time.monotonic(), counts.refused
    finally:
        newest.stop()
        transport.close()
    return counts


def _answer(
    segmenter: Segmenter, raw: bytes, labelling: Labelling, found: Fields | None, requested: FieldNames
) -> tuple[Fields | None, bytes]:
    """The meaning of the columns, which later clouds reuse, and the labelled cloud as CDR."""
    message = decode_cloud(raw)
    points = points_of_cloud(message)
    columns = points.columns()
    try:
        fitting = _fields_of(columns, segmenter, found, requested)
        scan = fitting.scan("the cloud", columns)
    except NoReturnsError:
        return found, encode_cloud(message, labelling.labelled(points, None))
    return fitting, encode_cloud(message, labelling.labelled(points, segmenter(replace(scan, where=""))))


def _fields_of(columns: Columns, segmenter: Segmenter, found: Fields | None, requested: FieldNames) -> Fields:
    """The meaning of the columns: that of earlier clouds, with more beams if this cloud has a ring above theirs.

    Upper beams often have no returns, so the first clouds may show half of the beams.
    """
    if found is not None and (found.beams is None or found.ring not in columns):
        return found
    if found is not None and ring_limits([columns[str(found.ring)]])[1] - found.first < (found.beams or 0):
        return found
    now = columns_of_run("the cloud", columns, segmenter.run.experiment, requested)
    return now if found is None else replace(found, first=now.first, beams=now.beams or found.beams)


def _diagnose(transport: Transport, counts: Counts, limit_ms: float, *, failing: bool, unlike: bool) -> None:
    """Publish the counts.

    Args:
        transport: publishes them.
        counts: of the session.
        limit_ms: see `run_live`.
        failing: a message was refused since the last status.
        unlike: a scan did not fit the run.
    """
    times = counts.percentiles()
    late = times.get("p99", 0.0) > limit_ms
    warnings = [f"above {limit_ms:g} ms"] if late else []
    warnings += ["a scan does not fit the run, so labels are probably wrong"] if unlike else []
    level, message = (2, counts.reason) if failing else (1, "; ".join(warnings)) if warnings else (0, "good")
    values = {f"latency {name} ms": f"{value:.1f}" for name, value in times.items()}
    done = {"labelled": counts.labelled, "dropped": counts.dropped, "refused": counts.refused}
    transport.diagnose(level, message, {name: str(value) for name, value in done.items()} | values)


def _warm_up(segmenter: Segmenter) -> None:
    """Label random points, so that compilation and allocation happen before the first scan arrives."""
    rng = np.random.default_rng(0)
    azimuth, slope, metres = rng.uniform((-np.pi, -0.3, 3), (np.pi, 0, 60), (120_000, 3)).T
    table = np.stack([metres * np.cos(azimuth), metres * np.sin(azimuth), metres * slope, 0 * metres], 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the points fit no sensor
        for _ in range(2):
            segmenter(table)
    segmenter.domain_check = DomainCheck(segmenter.run)  # without the result of these points
