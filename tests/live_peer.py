"""A sensor and a listener in a process of their own: publishes real scans at 10 Hz and keeps the labels.

python live_peer.py DOMAIN SECONDS OUT.json SCAN... [--best]
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

import numpy as np
from recordings import Cdr

from rangeseg.apps.dds import Dds, ros_topic
from rangeseg.scan_formats.cdr import Message, encode_cloud
from rangeseg.scan_formats.point_cloud2 import Layout, points_of_columns

FIELDS = (("x", 0, 7, 1), ("y", 4, 7, 1), ("z", 8, 7, 1), ("intensity", 12, 7, 1))


def main(domain: int, seconds: float, out: Path, files: list[Path]) -> None:
    peer = Dds("/points_labelled", "/points", reliable="--best" not in sys.argv, domain=domain)
    statuses = listen_to_diagnostics(peer)
    tables = [np.fromfile(file, "<f4").reshape(-1, 4) for file in files]
    clouds = [encode(table) for table in tables]
    sent: dict[int, tuple[int, float]] = {}
    answers: list[tuple[int, float, bytes]] = []
    stop = threading.Event()

    def listen() -> None:
        while not stop.is_set():
            for raw in peer.receive(0.05):
                answers.append((Cdr(raw).cloud()["stamp"], time.perf_counter(), raw))

    thread = threading.Thread(target=listen)
    thread.start()
    while not peer._writer.get_matched_subscriptions():
        time.sleep(0.05)
    begin = time.perf_counter()
    for number in range(int(10 * seconds)):
        time.sleep(max(0.0, begin + number / 10 - time.perf_counter()))
        told, points = clouds[number % len(clouds)]
        stamp = 1_700_000_000_000_000_000 + number
        raw = encode_cloud(Message(stamp, "lidar", *points.shape, [], False, 16, 0, points.data), points)
        sent[stamp] = (number % len(clouds), time.perf_counter())
        peer.send(raw)
    time.sleep(2)
    stop.set()
    thread.join()
    problems = sum(not fits(raw, tables[sent[stamp][0]]) for stamp, _, raw in answers)
    latency = [1e3 * (came - sent[stamp][1]) for stamp, came, _ in answers]
    told = [(one.status[0].name, one.status[0].message) for one in statuses.take(100)]
    result = {"sent": len(sent), "answered": len(answers), "problems": problems, "latency_ms": latency, "told": told}
    out.write_text(json.dumps(result))
    peer.close()


def encode(table: np.ndarray) -> tuple[None, object]:
    columns = dict(zip(("x", "y", "z", "intensity"), table.T, strict=True))
    return None, points_of_columns(Layout(FIELDS, 16), columns, (1, len(table)))


def listen_to_diagnostics(peer: Dds) -> object:
    from cyclonedds.core import Policy, Qos
    from cyclonedds.sub import DataReader
    from cyclonedds.topic import Topic
    from cyclonedds.util import duration

    topic = Topic(peer._participant, ros_topic("/diagnostics"), peer._types.diagnostics)
    how = Qos(Policy.Reliability.Reliable(duration(seconds=1)), Policy.History.KeepLast(100))
    return DataReader(peer._participant, topic, qos=how)


def fits(raw: bytes, table: np.ndarray) -> bool:
    points = Cdr(raw).cloud()["points"]
    same = all((points[axis] == table[:, k]).all() for k, axis in enumerate("xyz"))
    return bool(same and len(np.unique(points["class_id"])) > 2 and (points["probability"] <= 1).all())


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if word != "--best"]
    main(int(words[0]), float(words[1]), Path(words[2]), [Path(word) for word in words[3:]])
