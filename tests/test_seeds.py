"""What a test draws without a generator is the same whichever tests ran before it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch

TESTS = Path(__file__).parent


@pytest.mark.parametrize("turn", [0, 1])
def test_each_test_begins_with_the_same_random_numbers(turn: int) -> None:
    assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(0)))


def drawn_at_collection(source: str) -> list[str]:
    """Calls outside functions that draw torch's random numbers: layers with weights, and torch.rand and its like."""
    found = []

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner, name = ast.unparse(node.func.value), node.func.attr
            layer = owner in {"nn", "torch.nn"} and name.startswith(("Conv", "Linear", "Sequential"))
            if layer or (owner == "torch" and name.startswith("rand")):
                found.append(f"line {node.lineno}: {owner}.{name}")
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            inside: list[ast.AST] = [*node.decorator_list, *node.args.defaults]
        elif isinstance(node, ast.Lambda):
            inside = []
        else:
            inside = list(ast.iter_child_nodes(node))
        for child in inside:
            visit(child)

    visit(ast.parse(source))
    return found


@pytest.mark.parametrize("path", sorted(TESTS.glob("*.py")), ids=lambda path: path.stem)
def test_nothing_is_drawn_while_tests_are_collected(path: Path) -> None:
    assert drawn_at_collection(path.read_text(encoding="utf-8")) == []


def test_the_search_finds_what_is_drawn_at_collection() -> None:
    source = """@mark("conv", [nn.Conv2d(3, 4, 3)])
def test(conv): torch.rand(3)
X = torch.randn(2)
f = lambda: nn.Linear(1, 1)"""
    assert drawn_at_collection(source) == ["line 1: nn.Conv2d", "line 3: torch.randn"]
