"""What keeps the code small and its parts apart: read from the sources, nothing is imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "rangeseg"
SOURCES = {path.relative_to(PACKAGE).as_posix(): path.read_text("utf-8") for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {place: ast.parse(source, place) for place, source in SOURCES.items()}
FILE_LINES = 300
FUNCTION_LINES = 40

LONG_FILES: dict[str, int] = {}
LONG_FUNCTIONS = {
    "kernels/projection.py: _pixels_float32": 41,
    "kernels/projection.py: project_points": 42,
    "networks/fidnet.py: __init__": 43,
    "networks/rangevit.py: __init__": 44,
}
"""What is longer than the rule says, and how long it may be. Nothing is added here; shorten what is new."""

LEAVES = {
    "notices",
    "types",
    "version",
    "paths",
    "files",
    "terminal",
    "resources",
    "registry",
    "catalog",
    "parallel",
    "optional",
    "yaml_file",
    "labels",
    "sensors",
    "launch",
    "weights",
}
LEARNING = {"masks", "mixing", "noise", "losses", "schedules", "networks", "perturbations", "teacher"}
SCANS = {"kernels", "scan_formats", "scan_io", "projection", "synthetic", "data"}
ENGINE = LEAVES | LEARNING | SCANS | {"config", "drive", "analysis", "vis", "photos", "evaluation"}

MAY_IMPORT: dict[str, set[str]] = {
    "notices": set(),
    "types": set(),
    "version": set(),
    "paths": set(),
    "files": {"paths"},
    "terminal": set(),
    "resources": set(),
    "registry": set(),
    "parallel": set(),
    "optional": set(),
    "launch": set(),
    "catalog": {"registry"},
    "yaml_file": {"files"},
    "labels": {"types", "yaml_file"},
    "sensors": {"files", "resources", "yaml_file"},
    "weights": {"files", "registry", "resources"},
    "kernels": {"types"},
    "config": {"registry", "catalog", "paths", "resources", "yaml_file"},
    "scan_formats": {"notices", "types", "paths", "files", "kernels"},
    "scan_io": {"types", "paths", "files", "labels", "scan_formats"},
    "projection": LEAVES | {"kernels"},
    "synthetic": LEAVES | {"kernels"},
    "noise": set(),
    "schedules": set(),
    "masks": {"noise"},
    "mixing": {"types", "kernels"},
    "losses": {"types", "kernels"},
    "networks": {"files", "registry", "catalog", "kernels"},
    "teacher": {"types", "networks"},
    "perturbations": {"types", "masks", "mixing", "noise", "losses", "networks"},
    "analysis": {"types"},
    "vis": LEAVES | {"projection", "perturbations"},
    "data": LEAVES | {"kernels", "scan_formats", "scan_io", "projection", "synthetic"},
    "drive": LEAVES | {"kernels", "scan_formats", "scan_io", "data"},
    "photos": LEAVES | {"kernels", "projection", "data", "vis"},
    "evaluation": LEAVES | {"kernels", "projection", "photos"},
    "engine": ENGINE,
    "inference": ENGINE | {"engine"},
    "benchmark": ENGINE | {"engine", "inference"},
    "apps": ENGINE | {"engine", "inference"},
    "commands": ENGINE | {"engine", "inference", "benchmark", "apps"},
    "cli": {"version", "paths", "registry", "config", "commands"},
}
"""The rooms of `rangeseg` (a folder or a file at its top), lowest first, and what each may import besides itself."""

YAML_READERS = {"config/reading.py", "config/overrides.py", "yaml_file.py", "sensors.py"}
CONFIG_READERS = {"config", "engine", "inference", "apps", "benchmark", "commands", "cli"}
KERNELS_IMPORT = {"__future__", "heapq", "math", "numpy", "numba"}

SCANS_FOR_PHOTOS = {
    "rangeseg.projection.range_image",
    "rangeseg.data.file_pairs",
    "rangeseg.data.lists",
    "rangeseg.data.patterns",
    "rangeseg.data.prediction_files",
    "rangeseg.data.dataset",
    "rangeseg.vis.panels",
}
"""All that `photos` imports from the rooms of the range view."""

PHOTOS_FOR_OTHERS = {"evaluation": {"rangeseg.photos.padded_image"}, "engine": {"rangeseg.photos"}}
PHOTOS_FOR_OTHERS |= {room: {"rangeseg.photos"} for room in ("inference", "benchmark", "apps", "commands")}
"""What each room imports from `photos`; the rooms that are not listed import nothing."""

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


def arrows() -> Iterator[tuple[str, str, str]]:
    """File, its room and the full name of what it imports, for every import between two rooms."""
    for place, tree in TREES.items():
        if place not in {"__init__.py", "__main__.py"}:  # they import from every room
            for name in imports(tree):
                if name.startswith("rangeseg.") and name.split(".")[1] != part(place):
                    yield place, part(place), name


def within(name: str, modules: set[str]) -> bool:
    return any(f"{name}.".startswith(f"{module}.") for module in modules)


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without those of its docstring."""
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    if ast.get_docstring(node) is None:
        return lines
    docstring = node.body[0]
    return lines - ((docstring.end_lineno or docstring.lineno) - docstring.lineno + 1)


def test_every_room_has_a_rule() -> None:
    rooms = {part(place) for place in TREES} - {"__init__", "__main__"}
    assert not rooms - set(MAY_IMPORT), "give these rooms a line in MAY_IMPORT"
    assert not set(MAY_IMPORT) - rooms, "these rooms do not exist"


def test_rules_point_down() -> None:
    """A room may import only rooms that are listed above it, so no circle of rooms is possible."""
    order = list(MAY_IMPORT)
    wrong = [
        f"{room} may import {other}, which is not listed above it"
        for room, others in MAY_IMPORT.items()
        for other in others
        if order.index(other) >= order.index(room)
    ]
    assert not wrong


def test_rooms_import_what_their_rule_allows() -> None:
    wrong = [
        f"{place} imports {name}; {room} may import {', '.join(sorted(MAY_IMPORT[room])) or 'no other room'}"
        for place, room, name in arrows()
        if name.split(".")[1] not in MAY_IMPORT[room]
    ]
    assert not wrong


def test_kernels_know_arrays_only() -> None:
    wrong = [
        f"{place} imports {name}"
        for place, tree in TREES.items()
        if part(place) == "kernels"
        for name in imports(tree)
        if name.split(".")[0] not in KERNELS_IMPORT
        and not name.startswith("rangeseg.kernels.")
        and name != "rangeseg.types.IGNORE"
    ]
    assert not wrong


def test_photographs_meet_the_range_view_in_listed_modules() -> None:
    view = {"rangeseg.projection", "rangeseg.data", "rangeseg.vis"}
    wrong = [
        f"{place} imports {name}"
        for place, room, name in arrows()
        if (room == "photos" and within(name, view) and not within(name, SCANS_FOR_PHOTOS))
        or (within(name, {"rangeseg.photos"}) and not within(name, PHOTOS_FOR_OTHERS.get(room, set())))
    ]
    assert not wrong


def test_capabilities_are_declared() -> None:
    """No class is asked whether it has an attribute: its base declares it, with a default."""
    probes = [
        f"{place}:{node.lineno}"
        for place, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("getattr", "hasattr")
        if node.func.id == "hasattr" or len(node.args) == 3 or isinstance(node.args[1], ast.Constant)
    ]
    assert not probes


def test_imports_are_written_in_full() -> None:
    assert not [f"{place} imports {name}" for place, tree in TREES.items() for name in imports(tree) if name[0] == "."]


def test_yaml_is_known_where_configs_are_read_and_nowhere_else() -> None:
    wrong = [
        f"{place} imports {name}; take plain arguments instead"
        for place, tree in TREES.items()
        for name in imports(tree)
        if (name.split(".")[0] in {"yaml", "omegaconf"} and place not in YAML_READERS)
        or (within(name, {"rangeseg.config"}) and part(place) not in CONFIG_READERS | {"__init__"})
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
    long = {place: count for place, count in lines.items() if count > LONG_FILES.get(place, FILE_LINES)}
    assert not long, "split these"


def test_functions_stay_short() -> None:
    lines = [
        (f"{place}: {node.name}", length(node))
        for place, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert not [(name, count) for name, count in lines if count > LONG_FUNCTIONS.get(name, FUNCTION_LINES)]


def test_the_rules_see_what_they_forbid() -> None:
    tree = ast.parse("import yaml\ndef f():\n    from rangeseg.cli import main\nclass A:\n    def g(self): ...")
    assert list(imports(tree)) == ["yaml", "rangeseg.cli.main"]
    assert next(imports(ast.parse("from .masks import box_mask"))) == ".masks.box_mask"
    assert [name for name, _ in public(tree)] == ["f", "A", "A.g"]
    assert within("rangeseg.photos.io.read_photo", {"rangeseg.photos"})
    assert not within("rangeseg.photos_of_others", {"rangeseg.photos"})
    function = ast.parse('def f():\n    """One.\n\n    Two.\n    """\n    x = 1\n    return x').body[0]
    assert isinstance(function, ast.FunctionDef)
    assert length(function) == 3
