"""Topics of ROS 2 through DDS, with the package `cyclonedds` (extra `ros2`) and without a ROS installation.

The DDS names follow ROS 2: the topic ``/points`` is ``rt/points``, its type ``sensor_msgs::msg::dds_::PointCloud2_``.
Clouds are passed on as serialised bytes, because cyclonedds needs 0.2 s to (de)serialise a byte sequence of 2 MB.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

STATUS = "rangeseg live"
LAST_DOMAIN = 232
"""The ports of DDS allow no higher ROS domain."""

DEPTH = 8
"""Number of clouds in the queue between two reads; `rangeseg.apps.live` uses only the newest one."""


TUNED = (
    "<CycloneDDS><Domain><General><MaxMessageSize>65500B</MaxMessageSize><FragmentSize>64000B</FragmentSize></General>"
    "<Internal><SocketReceiveBufferSize max='64MB'/></Internal></Domain></CycloneDDS>"
)
"""Configuration if CYCLONEDDS_URI is not set: large fragments and a large receive buffer. Without them, a cloud of 2 MB
that is sent with best effort is lost. The system may limit the buffer: sysctl net.core.rmem_max."""


class Dds:
    """A `Transport` over DDS.

    Args:
        source: topic of the clouds, ROS name; may be "" if no clouds are received.
        target: topic of the labels, ROS name.
        reliable: reliable QoS, which sends lost parts again; False: best effort, as ROS's sensor data.
        domain: ROS domain; None: ROS_DOMAIN_ID of the environment, or 0 if it is not set.

    Raises:
        ImportError: cyclonedds is not installed.
        ValueError: ROS_DOMAIN_ID of the environment is not a number, or the domain is not from 0 to `LAST_DOMAIN`.
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
        domain = environment_domain() if domain is None else domain
        if not 0 <= domain <= LAST_DOMAIN:
            raise ValueError(f"The ROS domain is {domain}; give --domain from 0 to {LAST_DOMAIN}.")
        participant = DomainParticipant(domain)
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
        """Received clouds, serialised as CDR; waits up to `wait_s` seconds for the first."""
        self._waitset.wait(timeout=self._duration(seconds=wait_s))
        return [sample.raw for sample in self._reader.take(DEPTH) if isinstance(sample, self._types.cloud)]

    def send(self, cloud: bytes) -> None:
        """Publish a cloud."""
        self._writer.write(self._types.cloud.of(cloud))

    def diagnose(self, level: int, message: str, values: dict[str, str]) -> None:
        """Publish a DiagnosticArray of diagnostic_msgs with one status."""
        types, now = self._types, time.time_ns()
        head = types.header(stamp=types.time(sec=now // 10**9, nanosec=now % 10**9), frame_id="")
        pairs = [types.key_value(key=key, value=value) for key, value in values.items()]
        status = types.status(level=level, name=STATUS, message=message, hardware_id="", values=pairs)
        self._diagnostics.write(types.diagnostics(header=head, status=[status]))

    def close(self) -> None:
        """Leave the domain."""
        self._participant._delete(self._participant._ref)


def environment_domain() -> int:
    """ROS_DOMAIN_ID, or 0 if it is not set or empty.

    Raises:
        ValueError: it is not a number.
    """
    domain = os.environ.get("ROS_DOMAIN_ID", "").strip() or "0"
    if not domain.isdecimal():
        raise ValueError(
            f"The environment variable ROS_DOMAIN_ID is {domain!r}, not a number. Unset it or give --domain."
        )
    return int(domain)


def ros_topic(name: str) -> str:
    """The DDS name of a topic: ``/points`` -> ``rt/points``."""
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
    """The message types, as in ROS's interface files; needs cyclonedds."""
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
    """Make a type hold its serialised bytes: they are sent and received unchanged. Returns the same type."""

    def of(raw: bytes) -> Any:
        sample = kind.__new__(kind)
        sample.raw = raw
        return sample

    kind.of = staticmethod(of)
    kind.serialize = lambda self, *_, **__: self.raw
    kind.deserialize = classmethod(lambda cls, data, *_, **__: of(bytes(data)))
    return kind
