"""Run by `make wheel`, with the core dependencies only: the installed package works without torch."""

import csv
import importlib.util
import subprocess
import sys
import tempfile
from importlib.resources import files
from pathlib import Path


def main() -> None:
    """Import, grade, measure, compare and show; fail on the first command that does not succeed."""
    assert importlib.util.find_spec("torch") is None, "this environment is meant to be without torch"
    package = files("opo_eval")
    assert "site-packages" in str(package), package
    for name in ("py.typed", "tiny/checkpoints/late/model.safetensors", "tiny/checkpoints/manifest.json"):
        assert package.joinpath(name).is_file(), f"{name} is not in the wheel"
    with tempfile.TemporaryDirectory() as folder:
        _run_chain(Path(folder))
    print("wheel: import, grade, measure, compare and show work with the core dependencies")


def _run_chain(folder: Path) -> None:
    with (folder / "generations.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["problem", "gold", "response", "checkpoint"])
        for checkpoint, offset in (("early", 1), ("late", 0)):
            for a in range(6):
                for sample in range(4):
                    answer = 2 * a + offset * (sample % 2)
                    rows.writerow([f"{a}+{a}", 2 * a, f"that is \\boxed{{{answer}}}", checkpoint])
    _opo_eval(folder, "import", "generations.csv", "--map", "checkpoint=checkpoint", "--think", "none")
    _opo_eval(folder, "grade", "runs")
    _opo_eval(folder, "measure", "runs")
    _opo_eval(folder, "compare", "runs", "--name", "smoke")
    _opo_eval(folder, "show", "runs/late/generations", "3+3")
    assert (folder / "reports/smoke/report.md").is_file()


def _opo_eval(folder: Path, *arguments: str) -> None:
    subprocess.run([Path(sys.executable).with_name("opo-eval"), *arguments], cwd=folder, check=True)


if __name__ == "__main__":
    main()
