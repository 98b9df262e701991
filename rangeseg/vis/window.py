"""The window of an `Explorer`: 3-D points, a second view of the label, classes, and the range image.

Needs Open3D (extra `view`), a display, and a Vulkan driver: libvulkan1, on a machine without a GPU mesa-vulkan-drivers.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from functools import partial
from typing import Any

import numpy as np

from rangeseg.optional import ViewerMissingError, open3d_or_help
from rangeseg.vis.explorer import COLORINGS, Explorer
from rangeseg.vis.panels import BACKGROUND, enlarge

KEYS = """1 label   2 prediction   3 error   4 confidence   5 range   6 remission
right, left: next and previous scan   space: play   b: second view with the label   r: reset camera   q: close
drag: rotate   wheel: zoom   ctrl + drag: move   shift + click: inspect a point"""
"""The actions of keys and mouse."""

_PANEL, _STRIP, _PERIOD_S = 230, 170, 0.2


WITHOUT = "Write --html FILE.html or --rerun FILE.rrd instead, or --png FILE of one scan."
"""Alternatives that need no display."""


def require_display() -> None:
    """Check that a window can be opened, because without a display Open3D reports no error and waits for ever.

    Raises:
        ViewerMissingError: on Linux, no X server answers.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        library = ctypes.CDLL("libX11.so.6")
        library.XOpenDisplay.restype, library.XOpenDisplay.argtypes = ctypes.c_void_p, [ctypes.c_char_p]
        library.XCloseDisplay.argtypes = [ctypes.c_void_p]
        display = library.XOpenDisplay(None)
    except OSError:
        display = None
    if not display:
        name = os.environ.get("DISPLAY", "")
        reason = f"the display {name} does not answer" if name else "DISPLAY is not set"
        raise ViewerMissingError(f"There is no display to open a window on ({reason}). {WITHOUT}")
    library.XCloseDisplay(display)


def show_window(explorer: Explorer, *, title: str = "rangeseg") -> None:
    """Open the window, and return when it is closed.

    Args:
        explorer: the scans and the state of the view.
        title: title of the window.

    Raises:
        ViewerMissingError: Open3D, a system library, or a display is missing; the message says which.
    """
    require_display()
    open3d = open3d_or_help()
    from open3d.visualization import gui

    application = gui.Application.instance
    try:
        application.initialize()
        window = Window(open3d, explorer, title)
    except RuntimeError as error:
        raise ViewerMissingError(
            f"No window could be opened ({error}). It needs a display, and on Debian or Ubuntu: apt-get install "
            f"libvulkan1 mesa-vulkan-drivers. {WITHOUT}"
        ) from error
    application.run()
    del window
    explorer.close()


class Window:
    """Open3D's widgets, laid out and updated.

    Args:
        open3d: the module.
        explorer: the scans and the state of the view.
        title: title of the window.
    """

    def __init__(self, open3d: Any, explorer: Explorer, title: str) -> None:
        self.open3d, self.explorer = open3d, explorer
        self.gui, self.rendering = open3d.visualization.gui, open3d.visualization.rendering
        self.window = self.gui.Application.instance.create_window(title, 1500, 900)
        self.scenes = [self._make_scene(), self._make_scene()]
        self.active, self.last = 0, time.monotonic()
        self.caption, self.info = self.gui.Label(""), self.gui.Label("")
        self.strip = self.gui.ImageWidget()
        self.panel = self._make_panel()
        for widget in (*self.scenes, self.panel, self.strip):
            self.window.add_child(widget)
        self.window.set_on_layout(self._lay_out)
        self.window.set_on_key(self._press)
        self.window.set_on_tick_event(self._tick)
        self._look_home()
        self.refresh()

    def refresh(self) -> None:
        """Draw the current state of the explorer."""
        explorer = self.explorer
        for scene, coloring in zip(self.scenes, (explorer.coloring, explorer.beside), strict=True):
            scene.scene.clear_geometry()
            scene.visible = coloring is not None
            if coloring is None:
                continue
            shown = explorer.visible(coloring)
            xyz = explorer.frame.image.given.xyz[shown].astype(np.float64)
            cloud = self.open3d.geometry.PointCloud(self.open3d.utility.Vector3dVector(xyz))
            cloud.colors = self.open3d.utility.Vector3dVector(explorer.colors(coloring)[shown] / 255)
            material = self.rendering.MaterialRecord()
            material.shader, material.point_size = "defaultUnlit", 2.5 * self.window.scaling
            if len(xyz):
                scene.scene.add_geometry("points", cloud, material)
            scene.force_redraw()
        beside = f"  |  {explorer.beside}" if explorer.beside else ""
        self.caption.text = (
            f"{explorer.frame.name}  ({explorer.index + 1} of {explorer.count})\n{explorer.coloring}{beside}"
        )
        strip = enlarge(explorer.strip(explorer.coloring), 2 * explorer.frame.image.height, 2048)
        self.strip.update_image(self.open3d.geometry.Image(np.ascontiguousarray(strip)))
        self.window.set_needs_layout()
        self.window.post_redraw()

    def _make_scene(self) -> Any:
        widget = self.gui.SceneWidget()
        widget.scene = self.rendering.Open3DScene(self.window.renderer)
        widget.scene.set_background([part / 255 for part in BACKGROUND] + [1.0])
        widget.scene.view.set_post_processing(False)
        widget.set_on_mouse(partial(self._mouse, widget))
        return widget

    def _make_panel(self) -> Any:
        em = self.window.theme.font_size
        panel = self.gui.ScrollableVert(0.3 * em, self.gui.Margins(0.6 * em, 0.6 * em, 0.6 * em, 0.6 * em))
        panel.add_child(self.caption)
        moves = self.gui.Horiz(0.3 * em)
        for text, act in (("<", partial(self._step, -1)), (">", partial(self._step, 1)), ("play", self._play)):
            moves.add_child(self._button(text, act))
        moves.add_child(self._button("beside", self._beside))
        panel.add_child(moves)
        for first in range(0, len(COLORINGS), 2):
            row = self.gui.Horiz(0.3 * em)
            for coloring in COLORINGS[first : first + 2]:
                row.add_child(self._button(coloring, partial(self._color_by, coloring)))
            panel.add_child(row)
        label_map = self.explorer.label_map
        for train_id, name in enumerate(label_map.names):
            box, chip = self.gui.Checkbox(name), self.gui.Button("   ")
            box.checked = True
            box.set_on_checked(partial(self._check, train_id))
            chip.vertical_padding_em = 0.0
            chip.background_color = self.gui.Color(*(float(part) / 255 for part in label_map.colors[train_id]))
            row = self.gui.Horiz(0.3 * em)
            row.add_child(chip)
            row.add_child(box)
            panel.add_child(row)
        panel.add_child(self.info)
        return panel

    def _button(self, text: str, act: Any) -> Any:
        button = self.gui.Button(text)
        button.vertical_padding_em = 0.1
        button.set_on_clicked(act)
        return button

    def _lay_out(self, context: Any) -> None:
        room, scaling = self.window.content_rect, self.window.scaling
        panel, strip = round(_PANEL * scaling), round(_STRIP * scaling)
        wide, high = room.width - panel, room.height - strip
        each = wide // 2 if self.explorer.beside else wide
        self.scenes[0].frame = self.gui.Rect(room.x, room.y, each, high)
        self.scenes[1].frame = self.gui.Rect(room.x + each, room.y, wide - each, high)
        self.panel.frame = self.gui.Rect(room.x + wide, room.y, panel, room.height)
        self.strip.frame = self.gui.Rect(room.x, room.y + high, wide, strip)

    def _look_home(self) -> None:
        for scene in self.scenes:
            bounds = self.open3d.geometry.AxisAlignedBoundingBox([-80, -80, -10], [80, 80, 20])
            scene.setup_camera(60, bounds, [0, 0, 0])
            scene.look_at([8, 0, 0], [-16, 0, 14], [0, 0, 1])

    def _press(self, event: Any) -> bool:
        """Handle a key event; True if the pressed key has an action."""
        if event.type != self.gui.KeyEvent.Type.DOWN:
            return False
        name = self.gui.KeyName
        acts = {int(name.ONE) + place: partial(self._color_by, what) for place, what in enumerate(COLORINGS)} | {
            int(name.RIGHT): partial(self._step, 1),
            int(name.LEFT): partial(self._step, -1),
            int(name.SPACE): self._play,
            int(name.B): self._beside,
            int(name.R): self._look_home,
            int(name.Q): self.window.close,
        }
        act = acts.get(int(event.key))
        if act is not None:
            act()
        return act is not None

    def _tick(self) -> bool:
        """Copy the moved camera to the other view, and step to the next scan while playing; True to draw again."""
        if self.explorer.beside:
            other = self.scenes[1 - self.active]
            other.scene.camera.copy_from(self.scenes[self.active].scene.camera)
            other.force_redraw()
        if self.explorer.playing and time.monotonic() - self.last > _PERIOD_S:
            self._step(1)
        return bool(self.explorer.beside or self.explorer.playing)

    def _mouse(self, widget: Any, event: Any) -> Any:
        mouse, answer = self.gui.MouseEvent.Type, self.gui.Widget.EventCallbackResult
        self.active = self.scenes.index(widget) if event.type != mouse.MOVE else self.active
        if event.type != mouse.BUTTON_DOWN or not event.is_modifier_down(self.gui.KeyModifier.SHIFT):
            return answer.IGNORED
        frame, camera = widget.frame, widget.scene.camera
        across, down = (event.x - frame.x) / frame.width, (event.y - frame.y) / frame.height
        coloring = self.explorer.beside if widget is self.scenes[1] else self.explorer.coloring
        point = self.explorer.pick(
            coloring or "label",
            camera.get_view_matrix(),
            camera.get_projection_matrix(),
            (2 * across - 1, 1 - 2 * down),
        )
        self.info.text = "no point there" if point is None else self.explorer.describe(point)
        self.window.set_needs_layout()
        return answer.CONSUMED

    def _step(self, by: int) -> None:
        self.last = time.monotonic()
        self.explorer.step(by)
        self.refresh()

    def _play(self) -> None:
        self.explorer.playing = not self.explorer.playing

    def _beside(self) -> None:
        self.explorer.toggle_beside()
        self.refresh()

    def _color_by(self, coloring: str) -> None:
        if self.explorer.color_by(coloring):
            self.refresh()

    def _check(self, train_id: int, shown: bool) -> None:
        self.explorer.toggle_class(train_id)
        self.refresh()
