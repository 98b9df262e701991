"""Points in three dimensions, in a window to turn and fly through, or drawn to a file where there is no display.

Open3D is heavy and optional: it is imported when something is to be shown.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rangeseg.optional import open3d_or_help
from rangeseg.vis.panels import BACKGROUND


def show_points(
    xyz: NDArray[np.floating],
    colors: NDArray[np.uint8],
    *,
    png: str | Path | None = None,
    pixels: tuple[int, int] = (1600, 900),
    point_size: float = 3.0,
) -> None:
    """Show coloured points until the window is closed, or draw them to a file.

    Args:
        xyz: (N, 3) metres, x forward, y left, z up; non-finite points are left out.
        colors: (N, 3) uint8 RGB, as `colorise` gives them.
        png: the file to draw to, from behind and above the sensor, without a window or a display; None opens a window.
        pixels: (columns, rows) of the window or the file.
        point_size: side of a point, pixels.

    Raises:
        ValueError: the shapes do not fit, or the picture could not be drawn.
        ViewerMissingError: Open3D cannot be imported.
    """
    if xyz.ndim != 2 or xyz.shape[1] != 3 or colors.shape != xyz.shape:
        raise ValueError(f"show_points got xyz {xyz.shape} and colors {colors.shape}; give (N, 3) each.")
    open3d = open3d_or_help()
    there = np.isfinite(xyz).all(axis=1)
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(xyz[there].astype(np.float64)))
    cloud.colors = open3d.utility.Vector3dVector(colors[there] / 255)
    quiet = open3d.utility.VerbosityContextManager(open3d.utility.VerbosityLevel.Error)
    with quiet:  # or it warns, without a display, that it draws without a display
        _draw(open3d.visualization.Visualizer(), cloud, png, pixels, point_size)


def _draw(window: Any, cloud: Any, png: str | Path | None, pixels: tuple[int, int], point_size: float) -> None:
    if not window.create_window("rangeseg", *pixels, visible=png is None):
        raise ValueError("No window could be opened; give png=FILE to draw without a display.")
    try:
        window.add_geometry(cloud)
        window.get_render_option().point_size = point_size
        window.get_render_option().background_color = np.array(BACKGROUND) / 255
        _look_ahead(window.get_view_control())
        if png is None:
            window.run()
            return
        window.poll_events()
        window.update_renderer()
        window.capture_screen_image(str(png), do_render=True)
    finally:
        window.destroy_window()


def _look_ahead(camera: Any) -> None:
    """From behind and above, along the sensor's x."""
    camera.set_lookat([8.0, 0.0, 0.0])
    camera.set_front([-0.87, 0.0, 0.5])
    camera.set_up([0.5, 0.0, 0.87])
    camera.set_zoom(0.13)
