"""Builds the documentation as a site, into build/site: `python docs/build_site.py` (extra `docs`); warnings are errors.

Pages keep their places in the repository, so that a link that works there works on the site; the API's pages are made
of the docstrings. build/site/index.html opens without a server or a network.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build"
SOURCE = BUILD / "docs"
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "rangeseg/DESIGN.md")
FOLDERS = ("docs", "results", "datasets", "configs")
KEPT = {".md", ".png", ".yaml", ".txt", ".json"}
NOT_API = {"cli", "commands", "version"}
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)\s]*)?\)")


def stage() -> None:
    """Copy what is shown, and write a page for each part of the package, and the list of all pages."""
    shutil.rmtree(BUILD / "docs", ignore_errors=True)
    tracked = subprocess.run(["git", "ls-files", *FOLDERS], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    names = [*PAGES, *(name for name in tracked.splitlines() if Path(name).suffix in KEPT)]
    for name in names:
        target = SOURCE / ("index.md" if name == "README.md" else name)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    parts = sorted(path for path in (ROOT / "rangeseg").iterdir() if is_module(path) and path.stem not in NOT_API)
    for path in parts:
        below = sorted(part.stem for part in path.glob("*.py") if part.stem != "__init__") if path.is_dir() else []
        modules = [f"rangeseg.{path.stem}", *(f"rangeseg.{path.stem}.{part}" for part in below)]
        page = SOURCE / "api" / f"{path.stem}.md"
        page.parent.mkdir(exist_ok=True)
        page.write_text("\n".join(f"::: {module}\n" for module in modules), "utf-8")
    lists = {
        "Guides": [name for name in names if name.startswith("docs/")],
        "Results": [name for name in names if name.startswith("results/")],
        "Datasets": [name for name in names if name.startswith("datasets/")],
        "API": [f"api/{path.stem}.md" for path in parts],
        "Development": ["CONTRIBUTING.md", "rangeseg/DESIGN.md", "CHANGELOG.md"],
    }
    nav = ["nav:", "  - Start: index.md"]
    for title, pages in lists.items():
        nav += [f"  - {title}:", *(f"      - {page}" for page in pages if page.endswith(".md"))]
    config = (ROOT / "docs" / "site.yml").read_text("utf-8")
    (BUILD / "site.yml").write_text(f"{config}\n" + "\n".join(nav) + "\n", "utf-8")


def is_module(path: Path) -> bool:
    """A part of the package with a page of its own."""
    return path.name[0] != "_" and (path.suffix == ".py" or (path / "__init__.py").is_file())


def broken_links() -> list[str]:
    """Relative links of the repository's pages that lead nowhere."""
    tracked = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    pages = [ROOT / name for name in tracked.splitlines()]
    return [
        f"{page.relative_to(ROOT)}: {link}"
        for page in pages
        for link in LINK.findall(page.read_text("utf-8"))
        if not (page.parent / link).exists()
    ]


if __name__ == "__main__":
    if broken := broken_links():
        sys.exit("Links that lead nowhere:\n" + "\n".join(broken))
    stage()
    command = ["zensical", "build", "--strict", "--clean", "-f", str(BUILD / "site.yml")]
    sys.exit(subprocess.run([sys.executable, "-m", *command], check=False).returncode)
