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
KEPT = {".md", ".png", ".gif", ".yaml", ".txt", ".json"}
NOT_API = {"cli", "commands", "version"}
GUIDES = (
    *("your_own_sensor", "formats", "looking", "label_a_drive", "drives", "recipe"),
    *(
        "semantic_kitti",
        "nuscenes",
        "networks",
        "perturbations",
        "python",
        "extend",
        "many_machines",
        "paper_table",
        "security",
        "faq",
    ),
)
"""Pages of docs, in the order in which people need them."""
PUBLIC = {
    "Label scans and photographs": (
        "Segmenter Segmentation read_scan write_labels read_photo LabelMap Scan Photo IGNORE"
    ),
    "Project and vote": (
        "SphericalProjection RingProjection BeamProjection ScanUnfolding OrganisedProjection RangeImage PaddedImage "
        "Raster View Sample nearest_pixel nearest_label knn_vote"
    ),
    "Train": (
        "read_config Config ConfigError train Trainer create_network torch_data TorchData EmaTeacher pseudo_labels "
        "poly_decay sigmoid_rampup"
    ),
    "Score": "evaluate ConfusionMatrix",
    "Perturb": (
        "Perturbation PseudoLabelled CutMix CutOut Identity box_mask beam_mask sector_mask mix erase mix_probabilities"
    ),
    "Losses": "consistency_loss cross_entropy lovasz_softmax",
}
"""What `from rangeseg import ...` gives, on one page."""
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
    (SOURCE / "api" / "index.md").write_text(public_names(), "utf-8")
    lists = {
        "Guides": [f"docs/{name}.md" for name in GUIDES],
        "Results": [name for name in names if name.startswith("results/")],
        "Datasets": [name for name in names if name.startswith("datasets/")],
        "Development": ["CONTRIBUTING.md", "rangeseg/DESIGN.md", "CHANGELOG.md"],
        "Internal modules": [f"api/{path.stem}.md" for path in parts],
    }
    nav = ["nav:", "  - Start: index.md"]
    for title, pages in lists.items():
        if title == "Results":
            nav.append("  - Public names: api/index.md")
        nav += [f"  - {title}:", *(f"      - {page}" for page in pages if page.endswith(".md"))]
    config = (ROOT / "docs" / "site.yml").read_text("utf-8")
    (BUILD / "site.yml").write_text(f"{config}\n" + "\n".join(nav) + "\n", "utf-8")


def public_names() -> str:
    """The page of what the package exports."""
    lines = ["# Public names", "", "`from rangeseg import NAME` gives each of these. Other modules may change.", ""]
    for title, names in PUBLIC.items():
        lines += [f"## {title}", ""]
        lines += [f"::: rangeseg.{name}\n    options: {{heading_level: 3}}\n" for name in names.split()]
    return "\n".join(lines)


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
