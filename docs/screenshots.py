"""Takes the pictures of the documentation: `python docs/screenshots.py RUN [NAME ...]` writes docs/pictures/NAME.png.

RUN is a run folder, for instance of `rangeseg demo`. Needs Debian's xvfb, xdotool, imagemagick, chromium and
mesa-vulkan-drivers, and pip's playwright.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image

PICTURES = Path(__file__).parent / "pictures"
RANGESEG = [sys.executable, "-m", "rangeseg.cli"]
CHROMIUM = {
    "executable_path": "/usr/bin/chromium",
    "args": ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"],
}


def viewer(run: Path, picture: Path) -> None:
    """The window on a run: prediction and label side by side, and a point picked."""
    environment = os.environ | {"DISPLAY": ":87"}

    def ask(*words: str) -> str:
        return subprocess.run(words, env=environment, capture_output=True, text=True, check=False).stdout

    screen = subprocess.Popen(["Xvfb", ":87", "-screen", "0", "1500x900x24"])
    opened = subprocess.Popen([*RANGESEG, "show", str(run)], env=environment)
    try:
        while not (found := ask("xdotool", "search", "--name", "rangeseg").split()):
            time.sleep(1)
        time.sleep(8)
        ask("xdotool", "windowfocus", found[0])
        ask("xdotool", "mousemove", "300", "430", "keydown", "shift", "click", "1", "keyup", "shift")
        time.sleep(3)
        ask("import", "-window", "root", str(picture))
        ask("xdotool", "key", "q")
        opened.wait(30)
    finally:
        opened.kill()
        screen.terminate()


def report(run: Path, picture: Path) -> None:
    """A report in a browser without a network: its tables, and its first scan turned."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as started:
        page = Path(folder) / "report.html"
        runs = sorted((path for path in run.parent.iterdir() if (path / "evaluation.json").is_file()), reverse=True)
        subprocess.run([*RANGESEG, "report", *runs, "--out", page, "--scans", "1"], check=True)
        tab = started.chromium.launch(**CHROMIUM).new_context(viewport={"width": 1100, "height": 1200}).new_page()
        tab.goto(f"file://{page}")
        tab.wait_for_timeout(500)
        tab.screenshot(path=f"{folder}/left.png")
        tab.evaluate("document.querySelector('h3').scrollIntoView()")
        box = tab.locator("canvas").bounding_box()
        tab.mouse.move(box["x"] + 300, box["y"] + 200)
        tab.mouse.down()
        tab.mouse.move(box["x"] + 360, box["y"] + 60, steps=5)
        tab.mouse.up()
        tab.wait_for_timeout(500)
        tab.screenshot(path=f"{folder}/right.png")
        halves = [Image.open(f"{folder}/{side}.png").convert("RGB") for side in ("left", "right")]
        sheet = Image.new("RGB", (2200, 1200))
        for place, half in enumerate(halves):
            sheet.paste(half, (1100 * place, 0))
        sheet.resize((1650, 900), Image.Resampling.LANCZOS).save(picture)


def tensorboard(run: Path, picture: Path) -> None:
    """TensorBoard on a run: the points of a scan."""
    from playwright.sync_api import sync_playwright

    command = [sys.executable, "-m", "tensorboard.main", "--logdir", run.name, "--port", "6087"]
    server = subprocess.Popen(command, cwd=run.parent, stderr=subprocess.DEVNULL)
    try:
        with sync_playwright() as started:
            tab = started.chromium.launch(**CHROMIUM).new_context(viewport={"width": 1400, "height": 900}).new_page()
            time.sleep(12)
            tab.goto("http://127.0.0.1:6087/#mesh")
            tab.wait_for_timeout(15000)
            tab.screenshot(path=str(picture))
    finally:
        server.terminate()


SHOTS: dict[str, Callable[[Path, Path], None]] = {"viewer": viewer, "report": report, "tensorboard": tensorboard}

if __name__ == "__main__":
    run, *names = sys.argv[1:]
    for name in names or SHOTS:
        path = PICTURES / f"{name}.png"
        SHOTS[name](Path(run).resolve(), path)
        Image.open(path).convert("RGB").quantize(192).save(path, optimize=True)
