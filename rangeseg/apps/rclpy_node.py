"""A transport through rclpy, for machines with ROS 2. Messages stay serialised, so nothing is converted.

Tested only with a stand-in for rclpy, because ROS 2 was not available. `rangeseg.apps.dds` is tested between processes.
"""

from __future__ import annotations

from typing import Any

from rangeseg.apps.dds import DEPTH, STATUS


class Rclpy:
    """A `Transport` as a node in a separate context, so that the caller's nodes and signal handlers do not change.

    Args:
        source: topic of the clouds.
        target: topic of the labels.
        reliable: reliable QoS; False: best effort, as ROS's sensor data.
        domain: ROS domain; None: ROS_DOMAIN_ID of the environment.

    Raises:
        ImportError: rclpy cannot be imported; source ROS 2's setup.bash first.
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
        rclpy.init(args=[], context=self._context, domain_id=domain)  # a separate context gets no signal handlers
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
        """Received clouds, serialised as CDR; waits up to `wait_s` seconds."""
        self._executor.spin_once(timeout_sec=wait_s)  # calls the subscription's callback in this thread
        came = [bytes(raw) for raw in self._came]
        self._came.clear()
        return came

    def send(self, cloud: bytes) -> None:
        """Publish a cloud."""
        self._publisher.publish(bytes(cloud))

    def diagnose(self, level: int, message: str, values: dict[str, str]) -> None:
        """Publish a DiagnosticArray with one status."""
        array, status, pair = self._kinds
        diagnostic = status(level=bytes([level]), name=STATUS, message=message)
        diagnostic.values = [pair(key=key, value=value) for key, value in values.items()]
        message_ = array(status=[diagnostic])
        message_.header.stamp = self._node.get_clock().now().to_msg()
        self._diagnostics.publish(message_)

    def close(self) -> None:
        """Shut down the node and its context."""
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()
