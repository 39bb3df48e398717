"""Which way imports point, and what a bare import may load."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import opo_eval

PACKAGE = Path(opo_eval.__file__).parent

LOWEST = {"records", "errors"}
LOW = LOWEST | {
    "think",
    "wording",
    "tabular",
    "progress",
    "provenance",
    "stats",
    "metrics",
    "store",
    "problems",
}
MAY_USE = {
    "records": LOWEST,
    "errors": LOWEST,
    "think": LOWEST,
    "wording": LOWEST,
    "tabular": LOWEST | {"wording"},
    "processors": LOWEST,
    "progress": LOWEST,
    "provenance": LOWEST,
    "stats": LOWEST,
    "frames": LOWEST,
    "store": LOWEST | {"frames"},
    "metrics": LOWEST | {"think", "stats", "wording"},
    "problems": LOWEST | {"tabular", "wording", "progress"},
    "cluster": LOWEST | {"wording"},
    "samplers": (LOW - {"metrics", "stats"}) | {"cluster"},
    "grading": (LOW - {"metrics", "stats"}) | {"cluster"},
    "importers": LOW - {"metrics", "stats"},
    "scoring": LOWEST,
    "rl": (LOW - {"metrics", "stats"}) | {"samplers", "grading", "scoring"},
    "variance": LOW | {"samplers", "grading", "rl"},
    "study": LOW
    | {
        "arms",
        "compare",
        "differences",
        "family",
        "grading",
        "measure",
        "processors",
        "report",
        "rl",
        "samplers",
        "score",
        "tiny",
    },
    "tiny": LOW - {"stats"},
    "arms": LOWEST | {"wording"},
    "differences": LOW | {"arms"},
    "family": LOW,
    "measure": LOW | {"processors"},
    "scorers": LOWEST | {"wording"},
    "compare": LOW | {"measure", "arms", "differences", "family", "lineage", "over_steps", "scorers"},
    "lineage": LOWEST | {"wording"},
    "sweep": LOW | {"samplers"},
    "per_token": LOWEST | {"store"},
    "score": (LOW - {"metrics", "stats"}) | {"samplers", "scoring", "lineage", "per_token"},
    "over_steps": LOW | {"differences", "lineage"},
    "flips": LOWEST,
    "probe": LOW | {"samplers", "sweep"},
    "rewards": LOWEST | {"wording", "grading", "rl"},
    "exporters": LOWEST | {"wording", "rl", "samplers"},
    "truncation": LOW | {"arms", "family"},
    "texts": LOWEST | {"tabular"},
    "findings": LOW | {"texts"},
    "audit": LOW | {"differences", "family", "findings", "texts"},
    "show": LOW | {"measure"},
    "report": (LOW - {"stats", "problems", "metrics"})
    | {
        "arms",
        "measure",
        "compare",
        "family",
        "audit",
        "over_steps",
        "truncation",
        "variance",
        "flips",
        "probe",
    }
    | {"scorers", "per_token"},
    "dataframes": LOW | {"compare", "family", "grading", "importers", "measure", "report", "rl"},
    "training_runs": LOWEST | {"compare", "lineage", "report", "rl", "study", "wording"},
    "cli": {"*"},
    "__main__": {"cli"},
    # For type checkers; what an import loads, a test below says.
    "__init__": LOW | {"dataframes", "grading", "importers", "measure", "report", "rewards", "samplers"},
}
"""Part of the package → the other parts that it may import."""

HEAVY = {
    "torch": {"samplers", "scoring", "score", "rl", "tiny"},
    "transformers": {"samplers", "rl", "tiny"},
    "peft": {"samplers"},
    "tensorboard": {"rl"},
    "trackio": {"rl"},
    "wandb": {"rl"},
    "tokenizers": {"tiny", "report"},
    "math_verify": {"grading"},
    "sympy": {"grading"},
    "matplotlib": {"report"},
    "sacrebleu": {"metrics"},
    "nltk": {"metrics"},
    "httpx2": {"samplers"},
    "ray": {"cluster"},
    "huggingface_hub": {"problems", "exporters"},
    "pyarrow": {"tabular", "problems", "per_token", "exporters"},
    "pandas": {"tabular", "problems", "report", "importers", "dataframes"},
}
"""Library → the parts that may import it."""

READS_OR_WRITES = {"open", "read_text", "write_text", "read_bytes", "write_bytes", "mkdir", "unlink"}


def _modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def _part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imported(path: Path) -> set[str]:
    """Dotted names of every module that a file imports, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", _modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    part = _part(path)
    used = {name.split(".")[1] for name in _imported(path) if name.startswith("opo_eval.")} - {part}
    assert "*" in MAY_USE[part] or used <= MAY_USE[part], f"{part} may not import {used - MAY_USE[part]}"


@pytest.mark.parametrize("path", _modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_heavy_libraries_stay_in_their_part(path: Path) -> None:
    roots = {name.split(".")[0] for name in _imported(path)}
    for library in roots & HEAVY.keys():
        assert _part(path) in HEAVY[library], f"only {HEAVY[library]} may import {library}"
    if _part(path) in LOWEST:
        assert roots <= sys.stdlib_module_names | {"opo_eval"}


@pytest.mark.parametrize("part", ["metrics", "stats"])
def test_metrics_and_statistics_do_no_input_or_output(part: str) -> None:
    for path in (p for p in _modules() if _part(p) == part):
        called = {
            node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call)
        }
        assert not called & READS_OR_WRITES, path


@pytest.mark.parametrize("command", ["import opo_eval", "import opo_eval.cli; opo_eval.cli.run(['--help'])"])
def test_bare_import_and_help_load_nothing_heavy(command: str) -> None:
    heavy = {"torch", "vllm", "matplotlib", "pandas", "transformers", "math_verify", "sympy", "pyarrow"}
    script = (
        "import sys\n"
        f"try:\n    {command}\nexcept SystemExit:\n    pass\n"
        f"print('LOADED', sorted({heavy!r} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("LOADED []"), done.stdout


def test_public_names_are_there() -> None:
    for name in opo_eval.__all__:
        assert getattr(opo_eval, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = opo_eval.nonsense
