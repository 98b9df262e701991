"""The rclpy transport against a stand-in that has rclpy's signatures and records what it is asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import random_scan
from recordings import Cdr
from test_live import message

from rangeseg import Segmenter
from rangeseg.apps.dds import environment_domain
from rangeseg.apps.live import run_live
from rangeseg.apps.predict_recording import Labelling
from rangeseg.apps.rclpy_node import Rclpy


@dataclass
class Topic:
    """One publisher or subscription."""

    kind: type
    name: str
    quality: Any
    callback: Callable[[bytes], None] | None = None
    raw: bool = False
    sent: list[Any] = field(default_factory=list)

    def publish(self, msg: Any) -> None:
        assert type(msg) in (self.kind, bytes), "rclpy takes the topic's type or bytes"
        self.sent.append(msg)


class Ros:
    """What the modules below do, in order, and what is on the topics."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.topics: dict[str, Topic] = {}
        self.coming: list[bytes] = []
        self.domain: int | None = -1


class Context:
    def __init__(self) -> None:
        self.is_up = False

    def try_shutdown(self) -> None:
        self.is_up = False


class Node:
    def __init__(self, ros: Ros, context: Context) -> None:
        assert context.is_up, "a node needs a context that was initialised"
        self.ros, self.context = ros, context

    def create_subscription(
        self, msg_type: type, topic: str, callback: Any, qos_profile: Any, *, raw: bool = False
    ) -> None:
        self.ros.topics[topic] = Topic(msg_type, topic, qos_profile, callback, raw)

    def create_publisher(self, msg_type: type, topic: str, qos_profile: Any) -> Topic:
        return self.ros.topics.setdefault(topic, Topic(msg_type, topic, qos_profile))

    def get_clock(self) -> Any:
        return SimpleNamespace(now=lambda: SimpleNamespace(to_msg=lambda: "now"))

    def destroy_node(self) -> None:
        assert self.context.is_up, "the node ends before its context"
        self.ros.calls.append("destroy_node")


class Message:
    def __init__(self, **fields: Any) -> None:
        self.header = SimpleNamespace(stamp=None)
        self.__dict__ |= fields


@pytest.fixture
def ros(monkeypatch: pytest.MonkeyPatch) -> Ros:
    """A ROS 2 installation."""
    ros = Ros()

    class Executor:
        def __init__(self, *, context: Context) -> None:
            self.context = context
            self.nodes: list[Node] = []

        def add_node(self, node: Node) -> bool:
            self.nodes.append(node)
            return True

        def spin_once(self, timeout_sec: float | None = None) -> None:
            assert self.context.is_up
            assert self.nodes
            assert timeout_sec is not None, "rclpy waits for ever"
            if ros.coming:
                (topic,) = (one for one in ros.topics.values() if one.callback)
                topic.callback(ros.coming.pop(0))  # type: ignore[misc]

        def shutdown(self, timeout_sec: float | None = None) -> bool:
            ros.calls.append("executor.shutdown")
            return True

    def init(*, args: Any = None, context: Context | None = None, domain_id: int | None = None) -> None:
        assert context is not None, "the default context installs signal handlers and may be the caller's"
        ros.domain, context.is_up = domain_id, True

    kinds = {name: type(name, (Message,), {}) for name in ("DiagnosticArray", "DiagnosticStatus", "KeyValue")}
    modules: dict[str, dict[str, Any]] = {
        "rclpy": {"init": init, "create_node": lambda node_name, *, context: Node(ros, context)},
        "rclpy.context": {"Context": Context},
        "rclpy.executors": {"SingleThreadedExecutor": Executor},
        "rclpy.qos": {
            "QoSProfile": SimpleNamespace,
            "ReliabilityPolicy": SimpleNamespace(RELIABLE="reliable", BEST_EFFORT="best effort"),
        },
        "diagnostic_msgs": {},
        "diagnostic_msgs.msg": kinds,
        "sensor_msgs": {},
        "sensor_msgs.msg": {"PointCloud2": type("PointCloud2", (Message,), {})},
    }
    for name, members in modules.items():
        module = ModuleType(name)
        module.__dict__.update(members)
        monkeypatch.setitem(sys.modules, name, module)
    return ros


@pytest.mark.slow
def test_a_cloud_comes_back_labelled(ros: Ros, rng: np.random.Generator) -> None:
    pytest.importorskip("rosbags", reason="the extra bags is not installed")
    scan, segmenter = random_scan(rng, 500), Segmenter.load("first-answer", device="cpu")
    node = Rclpy("/points", "/labels", domain=7)
    ros.coming.append(message(scan, 5))
    labelling = Labelling(segmenter.label_map, class_ids="train")
    counts = run_live(segmenter, node, labelling, keep_running=lambda: not ros.topics["/labels"].sent)
    assert len(counts.latencies_ms) == 1
    (answer,) = (Cdr(raw).cloud() for raw in ros.topics["/labels"].sent)
    assert answer["stamp"] == 5
    np.testing.assert_array_equal(answer["points"]["class_id"], segmenter(scan).labels)
    assert ros.domain == 7


@pytest.mark.parametrize(("reliable", "how"), [(False, "best effort"), (True, "reliable")])
def test_clouds_pass_serialised_with_the_quality_asked_for(ros: Ros, reliable: bool, how: str) -> None:
    node = Rclpy("/points", "/labels", reliable=reliable)
    assert ros.topics["/points"].raw
    assert {ros.topics[name].quality.reliability for name in ("/points", "/labels")} == {how}
    assert ros.domain is None  # rclpy then reads ROS_DOMAIN_ID
    ros.coming += [b"one", b"two"]
    assert [node.receive(0.1) for _ in range(3)] == [[b"one"], [b"two"], []]
    node.close()
    assert ros.calls == ["executor.shutdown", "destroy_node"]
    assert not node._context.is_up


def test_a_status_has_the_types_of_diagnostic_msgs(ros: Ros) -> None:
    Rclpy("/points", "/labels").diagnose(1, "above 100 ms", {"dropped": "3"})
    (array,) = ros.topics["/diagnostics"].sent
    (status,) = array.status
    assert (status.level, status.message, array.header.stamp) == (b"\x01", "above 100 ms", "now")  # byte is bytes
    assert [(pair.key, pair.value) for pair in status.values] == [("dropped", "3")]


def test_the_domain_of_dds_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for said, domain in (("", 0), ("42", 42)):
        monkeypatch.setenv("ROS_DOMAIN_ID", said)
        assert environment_domain() == domain
    monkeypatch.setenv("ROS_DOMAIN_ID", "lab")
    with pytest.raises(ValueError, match="ROS_DOMAIN_ID is 'lab', not a number"):
        environment_domain()


def test_without_ros_the_other_transport_is_named() -> None:
    with pytest.raises(ImportError, match=r"setup\.bash, or use --transport dds"):
        Rclpy("/points", "/labels")
