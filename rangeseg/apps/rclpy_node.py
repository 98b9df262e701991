"""The same transport by rclpy, where ROS 2 is installed: messages pass serialised, so nothing is converted.

Tested against a stand-in for rclpy only, since no ROS 2 was at hand. `rangeseg.apps.dds` is tested between processes.
"""

from __future__ import annotations

from typing import Any

from rangeseg.apps.dds import DEPTH, STATUS


class Rclpy:
    """A `Transport` as a node, in a context of its own: it leaves the caller's nodes and signal handlers alone.

    Args:
        source: the topic of clouds.
        target: of labels.
        reliable: else as sensor data.
        domain: ROS_DOMAIN_ID; None: that of the environment.

    Raises:
        ImportError: rclpy is not there; source ROS 2's setup.bash first.
    """

    def __init__(self, source: str, target: str, *, reliable: bool = False, domain: int | None = None) -> None:
        try:
            import rclpy
            from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
            from rclpy.context import Context
            from rclpy.executors import SingleThreadedExecutor
            from rclpy.qos import QoSProfile, ReliabilityPolicy
            from sensor_msgs.msg import PointCloud2
        except ImportError as error:
            raise ImportError(
                f"rclpy is not there ({error}); source ROS 2's setup.bash, or use --transport dds."
            ) from error
        self._kinds: tuple[Any, ...] = (DiagnosticArray, DiagnosticStatus, KeyValue)
        self._context: Any = Context()
        rclpy.init(args=[], context=self._context, domain_id=domain)  # no signal handlers for a context of one's own
        self._node: Any = rclpy.create_node("rangeseg_live", context=self._context)
        how = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
        quality = QoSProfile(depth=DEPTH, reliability=how)
        self._came: list[bytes] = []
        self._node.create_subscription(PointCloud2, source, self._came.append, quality, raw=True)
        self._publisher = self._node.create_publisher(PointCloud2, target, quality)
        self._diagnostics = self._node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._executor: Any = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)

    def receive(self, wait_s: float) -> list[bytes]:
        """Clouds as CDR."""
        self._executor.spin_once(timeout_sec=wait_s)  # calls back in this thread
        came = [bytes(raw) for raw in self._came]
        self._came.clear()
        return came

    def send(self, cloud: bytes) -> None:
        """Publish a cloud."""
        self._publisher.publish(bytes(cloud))

    def diagnose(self, level: int, message: str, values: dict[str, str]) -> None:
        """Publish a status."""
        array, status, pair = self._kinds
        diagnostic = status(level=bytes([level]), name=STATUS, message=message)
        diagnostic.values = [pair(key=key, value=value) for key, value in values.items()]
        message_ = array(status=[diagnostic])
        message_.header.stamp = self._node.get_clock().now().to_msg()
        self._diagnostics.publish(message_)

    def close(self) -> None:
        """End the node and its context."""
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()
