"""Points in 3-D as an animation, drawn without a display.

Open3D is large and optional, so it is imported only when points are drawn.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rangeseg.files import write_atomically
from rangeseg.optional import open3d_or_help
from rangeseg.vis.panels import BACKGROUND

COLUMNS, ROWS = 960, 540
POINT_PIXELS = 2.0
MILLISECONDS = 100
"""Duration of each picture."""


def _look_ahead(camera: Any, turn: float) -> None:
    """Point the camera along x from behind and above the sensor, then turn it about the sensor, radians to the left."""
    cos, sin = np.cos(turn), np.sin(turn)
    camera.set_lookat([8.0 * cos, 8.0 * sin, 0.0])
    camera.set_front([-0.87 * cos, -0.87 * sin, 0.5])
    camera.set_up([0.5 * cos, 0.5 * sin, 0.87])
    camera.set_zoom(0.13)


def write_gif(
    path: str | Path,
    clouds: Sequence[tuple[NDArray[np.floating], NDArray[np.uint8]]],
    *,
    turns: int,
) -> None:
    """Draw coloured points as an animation, without a display: a sequence, or one scan from all sides.

    Args:
        path: a file that ends in ``.gif``.
        clouds: (N, 3) metres and (N, 3) uint8 RGB of each scan, at least one.
        turns: number of pictures of each scan; the camera goes once around the scan in these pictures.

    Raises:
        ValueError: another ending, nothing to draw, or no picture could be drawn.
        ViewerMissingError: Open3D cannot be imported.
    """
    if Path(path).suffix != ".gif" or not clouds:
        raise ValueError(f"{path}: give a file that ends in .gif, and at least one scan; got {len(clouds)}.")
    open3d = open3d_or_help()
    pictures = []
    with open3d.utility.VerbosityContextManager(open3d.utility.VerbosityLevel.Error):
        window = open3d.visualization.Visualizer()
        if not window.create_window("rangeseg", COLUMNS, ROWS, visible=False):
            raise ValueError("Open3D could not draw without a display.")
        try:
            window.get_render_option().point_size = POINT_PIXELS
            window.get_render_option().background_color = np.array(BACKGROUND) / 255
            for xyz, colors in clouds:
                finite = np.isfinite(xyz).all(axis=1)
                cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(xyz[finite].astype(np.float64)))
                cloud.colors = open3d.utility.Vector3dVector(colors[finite] / 255)
                window.clear_geometries()
                window.add_geometry(cloud)
                for number in range(turns):
                    _look_ahead(window.get_view_control(), 2 * np.pi * number / turns)
                    window.poll_events()
                    window.update_renderer()
                    shot = np.asarray(window.capture_screen_float_buffer(do_render=True))
                    pictures.append(Image.fromarray(np.rint(shot * 255).astype(np.uint8)).quantize(128))
        finally:
            window.destroy_window()
    content = io.BytesIO()
    first, *others = pictures
    first.save(content, "GIF", save_all=True, append_images=others, duration=MILLISECONDS, loop=0)
    write_atomically(Path(path), content.getvalue())
