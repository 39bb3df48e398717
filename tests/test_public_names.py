"""What type checkers are told of the names that are loaded on first use is what is loaded."""

import ast
from importlib import import_module

import pytest

LAZY = ["opo_eval", "opo_eval.grading", "opo_eval.report"]


def told(package: str) -> dict[str, str]:
    """Public name → the module that a type checker takes it from; a module stands for itself."""
    (block,) = (
        node
        for node in ast.parse(open_source(package)).body
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
    )
    return {
        alias.asname or alias.name: str(node.module)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def open_source(package: str) -> str:
    with open(import_module(package).__file__ or "", encoding="utf-8") as file:
        return file.read()


@pytest.mark.parametrize("package", LAZY)
def test_every_public_name_is_told_and_is_the_one_that_is_loaded(package: str) -> None:
    module = import_module(package)
    names = told(package)
    assert names.keys() == set(module.__all__) - {"__version__"}
    for name, home in names.items():
        assert getattr(module, name) is getattr(import_module(home), name)
