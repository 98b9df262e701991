"""Pictures of scans and photographs: panels, points from above, an interactive viewer."""

from rangeseg.vis.birds_eye import birds_eye
from rangeseg.vis.panels import colorise, panels
from rangeseg.vis.photo_panels import photo_panels
from rangeseg.vis.show import show_scan
from rangeseg.vis.viewer import show_points

__all__ = ["birds_eye", "colorise", "panels", "photo_panels", "show_points", "show_scan"]
