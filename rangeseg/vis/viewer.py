"""Points in 3-D, in an interactive window or drawn to a file without a display.

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
        colors: (N, 3) uint8 RGB, for example from `colorise`.
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
    finite = np.isfinite(xyz).all(axis=1)
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(xyz[finite].astype(np.float64)))
    cloud.colors = open3d.utility.Vector3dVector(colors[finite] / 255)
    quiet = open3d.utility.VerbosityContextManager(open3d.utility.VerbosityLevel.Error)
    with quiet:  # otherwise Open3D warns that there is no display
        _draw(open3d.visualization.Visualizer(), cloud, png, pixels, point_size)


def _draw(window: Any, cloud: Any, png: str | Path | None, pixels: tuple[int, int], point_size: float) -> None:
    if not window.create_window("rangeseg", *pixels, visible=png is None):
        raise ValueError(
            "Open3D could not open a window; give png=FILE to draw without a display."
            if png is None
            else f"{png}: Open3D could not draw without a display on this machine."
        )
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


def _look_ahead(camera: Any, turn: float = 0.0) -> None:
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
    turns: int = 1,
    pixels: tuple[int, int] = (960, 540),
    point_size: float = 2.0,
    milliseconds: int = 100,
) -> None:
    """Draw coloured points as an animation, without a display: a sequence, or one scan from all sides.

    Args:
        path: a file that ends in ``.gif``.
        clouds: (N, 3) metres and (N, 3) uint8 RGB of each scan, at least one.
        turns: number of pictures of each scan; the camera goes once around the scan in these pictures.
        pixels: (columns, rows).
        point_size: side of a point, pixels.
        milliseconds: duration of each picture.

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
        if not window.create_window("rangeseg", *pixels, visible=False):
            raise ValueError("Open3D could not draw without a display.")
        try:
            window.get_render_option().point_size = point_size
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
    first.save(content, "GIF", save_all=True, append_images=others, duration=milliseconds, loop=0)
    write_atomically(Path(path), content.getvalue())
