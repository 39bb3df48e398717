"""The scripts of benchmarks/studies as modules."""

import importlib
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def study(name: str) -> Any:
    """A script of benchmarks/studies as a module; scripts there find one another as when they are run."""
    folder = str(ROOT / "benchmarks/studies")
    sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(folder)
