"""The notebook's cells run, in order, in one namespace; what each shows at its end is what a reader sees."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from documents import ROOT
from PIL import Image

from rangeseg.inference.segmentation import Segmentation
from rangeseg.scan_io import read_scan

NOTEBOOK = ROOT / "docs" / "first_labels.ipynb"


def shown(source: str, names: dict[str, Any]) -> Any:
    """Run a cell and give the value of its last line, as Jupyter does."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, str(NOTEBOOK), "exec"), names)
    return eval(compile(ast.Expression(last.value), str(NOTEBOOK), "eval"), names) if last is not None else None


@pytest.mark.slow
def test_the_notebook_labels_a_scan_and_shows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = json.loads(NOTEBOOK.read_text())
    assert written["nbformat"] == 4
    cells = [cell for cell in written["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in cells)
    names: dict[str, Any] = {"__name__": "__main__"}
    here = tmp_path / "here"
    (here / "tests").mkdir(parents=True)
    (here / "tests" / "data").symlink_to(ROOT / "tests" / "data")
    monkeypatch.chdir(here)
    values = [shown("".join(cell["source"]), names) for cell in cells]
    assert [type(value) for value in values if isinstance(value, Segmentation)] == [Segmentation]
    pictures = [np.asarray(value) for value in values if isinstance(value, Image.Image)]
    assert len(pictures) == 2
    assert all(picture.std() > 20 for picture in pictures)
    told = [value for value in values if isinstance(value, str)]
    before, after = (float(line.rpartition("%")[0].split()[-1].rstrip("%")) for line in told)
    assert 50 < before < after
    assert len(read_scan("street.ply")) == len(names["scan"])
