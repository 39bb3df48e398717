"""The README's Python runs as it stands, and what its comments say of values is so."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest

README = Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CLAIM = re.compile(r"# → (.*)")


def blocks(text: str) -> list[str]:
    return [match[1] for match in BLOCK.finditer(text)]


def sections() -> list[list[str]]:
    """The Python of every section that has any."""
    return [
        found for text in re.split(r"^## ", README.read_text(), flags=re.MULTILINE) if (found := blocks(text))
    ]


def run_block(source: str, names: dict[str, Any]) -> None:
    """Run it; each `# → text` is what the expression on that line comes to."""
    claims = {i: match[1] for i, line in enumerate(source.split("\n"), 1) if (match := CLAIM.search(line))}
    tree = ast.fix_missing_locations(_Watch(claims).visit(ast.parse(source)))
    found: dict[int, str] = {}
    names["_watch"] = lambda line, value: found.update({line: str(value)})
    exec(compile(tree, "README.md", "exec"), names)
    assert found == claims


class _Watch(ast.NodeTransformer):
    """Hands the expressions that something is said of to `_watch`, as they are then."""

    def __init__(self, claims: dict[int, str]) -> None:
        self.claims = claims

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        if node.end_lineno not in self.claims:
            return node
        said = ast.Call(ast.Name("_watch", ast.Load()), [ast.Constant(node.end_lineno), node.value], [])
        return ast.copy_location(ast.Expr(said), node)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to run in, and no window for figures."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    return tmp_path


def test_the_readme_has_examples() -> None:
    assert sum(map(len, sections())) >= 5


@pytest.mark.parametrize("section", sections(), ids=lambda section: section[0].split("\n")[0])
def test_the_examples_of_a_section_run_in_order(section: list[str], elsewhere: Path) -> None:
    names: dict[str, Any] = {"__name__": "readme"}
    for source in section:
        run_block(source, names)


@pytest.mark.parametrize(
    "source",
    ["1 + 1  # → 3", "x = 2  # → 2", "# → 2", "undefined", "import warnings; warnings.warn('old')"],
)
def test_an_example_that_is_not_so_fails(source: str) -> None:
    with pytest.raises((AssertionError, NameError, UserWarning)):
        run_block(source, {})


def test_values_are_compared_in_the_order_of_the_lines() -> None:
    run_block("x = [1]\nx  # → [1]\nwith open('/dev/null'):\n    x.append(2)\n    x[1]  # → 2\n", {})
