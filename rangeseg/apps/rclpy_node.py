"""The same transport by rclpy, where ROS 2 is installed: messages pass serialised, so nothing is converted.

Not tested here: no ROS 2 was at hand. `rangeseg.apps.dds` is.
"""

from __future__ import annotations

import threading
from typing import Any

from rangeseg.apps.dds import DEPTH, STATUS


class Rclpy:
    """A `Transport` as a node.

    Args:
        source: the topic of clouds.
        target: of labels.
        reliable: else as sensor data.

    Raises:
        ImportError: rclpy is not there; source ROS 2's setup.bash first.
    """

    def __init__(self, source: str, target: str, *, reliable: bool = False) -> None:
        try:
            import rclpy
            from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
            from rclpy.qos import QoSProfile, ReliabilityPolicy
            from sensor_msgs.msg import PointCloud2
        except ImportError as error:
            raise ImportError(
                f"rclpy is not there ({error}); source ROS 2's setup.bash, or use --transport dds."
            ) from error
        self._rclpy: Any = rclpy
        self._kinds: tuple[Any, ...] = (DiagnosticArray, DiagnosticStatus, KeyValue)
        rclpy.init()
        self._node: Any = rclpy.create_node("rangeseg_live")
        how = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
        quality = QoSProfile(depth=DEPTH, reliability=how)
        self._came: list[bytes] = []
        self._lock = threading.Lock()
        self._node.create_subscription(PointCloud2, source, self._keep, quality, raw=True)
        self._publisher = self._node.create_publisher(PointCloud2, target, quality)
        self._diagnostics = self._node.create_publisher(DiagnosticArray, "/diagnostics", 10)

    def _keep(self, raw: bytes) -> None:
        with self._lock:
            self._came.append(bytes(raw))

    def receive(self, wait_s: float) -> list[bytes]:
        """Clouds as CDR."""
        self._rclpy.spin_once(self._node, timeout_sec=wait_s)
        with self._lock:
            came, self._came = self._came, []
        return came

    def send(self, cloud: bytes) -> None:
        """Publish a cloud."""
        self._publisher.publish(cloud)

    def diagnose(self, level: int, message: str, values: dict[str, str]) -> None:
        """Publish a status."""
        array, status, pair = self._kinds
        told = status(level=bytes([level]), name=STATUS, message=message)
        told.values = [pair(key=key, value=value) for key, value in values.items()]
        message_ = array(status=[told])
        message_.header.stamp = self._node.get_clock().now().to_msg()
        self._diagnostics.publish(message_)

    def close(self) -> None:
        """End the node."""
        self._node.destroy_node()
        self._rclpy.try_shutdown()
