"""What keeps the code small and its parts apart: read from the sources, nothing is imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "rangeseg"
SOURCES = {path.relative_to(PACKAGE).as_posix(): path.read_text("utf-8") for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {place: ast.parse(source, place) for place, source in SOURCES.items()}
LINES_AT_MOST = 350

LAYERS = (
    {"types", "version", "files", "resources", "components", "parallel", "optional"},
    {"labels", "config", "config_checks", "scan_formats", "scan_io", "sensors"},
    {
        "projection",
        "argmax",
        "backprojection",
        "backprojection_kernels",
        "holes",
        "noise",
        "masks",
        "mix",
        "mix_kernels",
        "perturbations",
    }
    | {"losses", "losses_kernels", "schedules", "metrics", "teacher", "networks"},
    {"synthetic"},
    {"analysis", "data", "vis"},
    {"engine"},
    {"benchmark"},
    {"commands"},
    {"cli"},
)
"""Parts of `rangeseg`, lowest first. A part imports from its own layer and from those below."""

YAML_READERS = {"config.py", "labels.py", "sensors.py"}
CONFIG_READERS = {"__init__", "benchmark", "cli", "commands", "config", "config_checks", "engine"}

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def imports(tree: ast.AST) -> Iterator[str]:
    """Full names of all modules and members a file imports, at its top or inside its functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names)


def public(tree: ast.Module | ast.ClassDef, prefix: str = "") -> Iterator[tuple[str, Definition]]:
    """Classes, functions and methods whose names do not begin with an underscore."""
    for node in tree.body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield f"{prefix}{node.name}", node
            if isinstance(node, ast.ClassDef):
                yield from public(node, f"{prefix}{node.name}.")


def part(place: str) -> str:
    return place.split("/")[0].removesuffix(".py")


def layer(name: str) -> int:
    for level, parts in enumerate(LAYERS):
        if name in parts:
            return level
    raise AssertionError(f"rangeseg/{name} has no place in LAYERS; give it one")


def test_imports_point_down() -> None:
    wrong = [
        f"{place} imports {name}"
        for place, tree in TREES.items()
        if place != "__init__.py"  # the public names come from everywhere
        for name in imports(tree)
        if name.startswith("rangeseg.") and layer(name.split(".")[1]) > layer(part(place))
    ]
    assert not wrong


def test_imports_are_written_in_full() -> None:
    assert not [f"{place} imports {name}" for place, tree in TREES.items() for name in imports(tree) if name[0] == "."]


def test_yaml_is_known_where_configs_are_read_and_nowhere_else() -> None:
    wrong = [
        f"{place} imports {name}; take plain arguments instead"
        for place, tree in TREES.items()
        for name in imports(tree)
        if (name.split(".")[0] in {"yaml", "omegaconf"} and place not in YAML_READERS)
        or (name.startswith("rangeseg.config") and part(place) not in CONFIG_READERS)
    ]
    assert not wrong


def test_nothing_prints() -> None:
    wrong = [
        f"{place}:{node.lineno}: say it through warnings or the command line's console"
        for place, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not wrong


def test_everything_public_has_a_docstring() -> None:
    missing = [place for place, tree in TREES.items() if not ast.get_docstring(tree)]
    for place, tree in TREES.items():
        missing += [f"{place}: {name}" for name, node in public(tree) if not ast.get_docstring(node)]
    assert not missing


def test_files_stay_short() -> None:
    lines = {place: len(source.splitlines()) for place, source in SOURCES.items()}
    assert not {place: count for place, count in lines.items() if count > LINES_AT_MOST}, "split these"


def test_the_rules_see_what_they_forbid() -> None:
    tree = ast.parse("import yaml\ndef f():\n    from rangeseg.cli import main\nclass A:\n    def g(self): ...")
    assert list(imports(tree)) == ["yaml", "rangeseg.cli.main"]
    assert next(imports(ast.parse("from .masks import box_mask"))) == ".masks.box_mask"
    assert [name for name, _ in public(tree)] == ["f", "A", "A.g"]
    assert layer("types") < layer("labels") < layer("masks") < layer("data") < layer("engine") < layer("cli")
    with pytest.raises(AssertionError, match="no place in LAYERS"):
        layer("nowhere")
