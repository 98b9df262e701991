"""ROS 2's topics by DDS itself, through the package `cyclonedds` (extra `ros2`): no ROS need be installed.

Names are those of ROS 2's mapping: the topic ``/points`` is ``rt/points``, its type
``sensor_msgs::msg::dds_::PointCloud2_``.
Clouds pass as the bytes they are; cyclonedds's own (de)serialisation of byte sequences takes 0.2 s for 2 MB.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

STATUS = "rangeseg live"
DEPTH = 8
"""Clouds that may arrive between two looks; `rangeseg.apps.live` keeps the newest of them."""


TUNED = (
    "<CycloneDDS><Domain><General><MaxMessageSize>65500B</MaxMessageSize><FragmentSize>64000B</FragmentSize></General>"
    "<Internal><SocketReceiveBufferSize max='64MB'/></Internal></Domain></CycloneDDS>"
)
"""Set where CYCLONEDDS_URI is not: few fragments and room for them, or a cloud of 2 MB, sent with best effort, is lost.
The system may allow less room: sysctl net.core.rmem_max."""


class Dds:
    """A `Transport` over DDS.

    Args:
        source: ROS's name of the topic of clouds; "" for none.
        target: of the topic of labels.
        reliable: ask for lost parts again; else as ROS's sensor data, best effort.
        domain: ROS_DOMAIN_ID; None: that of the environment, or 0.

    Raises:
        ImportError: cyclonedds is not installed.
        ValueError: the environment's ROS_DOMAIN_ID is no number.
    """

    def __init__(self, source: str, target: str, *, reliable: bool = False, domain: int | None = None) -> None:
        try:
            from cyclonedds.core import InstanceState, Policy, Qos, ReadCondition, SampleState, ViewState, WaitSet
            from cyclonedds.domain import DomainParticipant
            from cyclonedds.pub import DataWriter
            from cyclonedds.sub import DataReader
            from cyclonedds.topic import Topic
            from cyclonedds.util import duration
        except ImportError as error:
            raise ImportError(f"DDS goes through cyclonedds ({error}): pip install 'rangeseg[ros2]'.") from error
        os.environ.setdefault("CYCLONEDDS_URI", TUNED)
        types = _types()
        self._types, self._duration = types, duration
        participant = DomainParticipant(environment_domain() if domain is None else domain)
        how = Policy.Reliability.Reliable(duration(seconds=1)) if reliable else Policy.Reliability.BestEffort
        common = (Policy.Durability.Volatile, Policy.DataRepresentation(use_cdrv0_representation=True))
        clouds = Qos(how, Policy.History.KeepLast(DEPTH), *common)
        self._reader = DataReader(participant, Topic(participant, ros_topic(source), types.cloud), qos=clouds)
        self._waitset = WaitSet(participant)
        state = SampleState.NotRead | ViewState.Any | InstanceState.Any
        self._waitset.attach(ReadCondition(self._reader, state))
        self._writer = DataWriter(participant, Topic(participant, ros_topic(target), types.cloud), qos=clouds)
        status = Qos(Policy.Reliability.Reliable(duration(milliseconds=100)), Policy.History.KeepLast(10), *common)
        diagnostics = Topic(participant, ros_topic("/diagnostics"), types.diagnostics)
        self._diagnostics = DataWriter(participant, diagnostics, qos=status)
        self._participant = participant

    def receive(self, wait_s: float) -> list[bytes]:
        """Clouds as CDR."""
        self._waitset.wait(timeout=self._duration(seconds=wait_s))
        return [sample.raw for sample in self._reader.take(DEPTH) if isinstance(sample, self._types.cloud)]

    def send(self, cloud: bytes) -> None:
        """Publish a cloud."""
        self._writer.write(self._types.cloud.of(cloud))

    def diagnose(self, level: int, message: str, values: dict[str, str]) -> None:
        """Publish a status of diagnostic_msgs."""
        types, now = self._types, time.time_ns()
        head = types.header(stamp=types.time(sec=now // 10**9, nanosec=now % 10**9), frame_id="")
        pairs = [types.key_value(key=key, value=value) for key, value in values.items()]
        status = types.status(level=level, name=STATUS, message=message, hardware_id="", values=pairs)
        self._diagnostics.write(types.diagnostics(header=head, status=[status]))

    def close(self) -> None:
        """Leave the domain."""
        self._participant._delete(self._participant._ref)


def environment_domain() -> int:
    """ROS_DOMAIN_ID, or 0 where it is not set or empty.

    Raises:
        ValueError: it is no number.
    """
    domain = os.environ.get("ROS_DOMAIN_ID", "").strip() or "0"
    if not domain.isdecimal():
        raise ValueError(
            f"The environment variable ROS_DOMAIN_ID is {domain!r}, not a number. Unset it or give --domain."
        )
    return int(domain)


def ros_topic(name: str) -> str:
    """``/points`` -> ``rt/points``."""
    return f"rt/{name.strip('/')}"


@dataclass(frozen=True)
class _Types:
    cloud: Any
    time: Any
    header: Any
    key_value: Any
    status: Any
    diagnostics: Any


def _types() -> _Types:
    """The messages' types, as ROS's interface files have them; made when cyclonedds is there."""
    from cyclonedds.idl import make_idl_struct, types

    def struct(package: str, called: str, /, **fields: Any) -> Any:
        return make_idl_struct(f"{called}_", f"{package}.msg.dds_.{called}_", fields)

    time_ = struct("builtin_interfaces", "Time", sec=types.int32, nanosec=types.uint32)
    header = struct("std_msgs", "Header", stamp=time_, frame_id=str)
    point_field = struct(
        "sensor_msgs", "PointField", name=str, offset=types.uint32, datatype=types.uint8, count=types.uint32
    )
    cloud = struct(
        "sensor_msgs", "PointCloud2", header=header, height=types.uint32, width=types.uint32,
        fields=types.sequence[point_field], is_bigendian=bool, point_step=types.uint32, row_step=types.uint32,
        data=types.sequence[types.uint8], is_dense=bool,
    )  # fmt: skip
    pair = struct("diagnostic_msgs", "KeyValue", key=str, value=str)
    status = struct(
        "diagnostic_msgs", "DiagnosticStatus", level=types.byte, name=str, message=str, hardware_id=str,
        values=types.sequence[pair],
    )  # fmt: skip
    array = struct("diagnostic_msgs", "DiagnosticArray", header=header, status=types.sequence[status])
    return _Types(_raw(cloud), time_, header, pair, status, array)


def _raw(kind: Any) -> Any:
    """The same type, whose values are the bytes that are sent."""

    def of(raw: bytes) -> Any:
        sample = kind.__new__(kind)
        sample.raw = raw
        return sample

    kind.of = staticmethod(of)
    kind.serialize = lambda self, *_, **__: self.raw
    kind.deserialize = classmethod(lambda cls, data, *_, **__: of(bytes(data)))
    return kind
