"""From a warm start to the shipped checkpoints: `python -m opo_eval.tiny.release --run DIR`.

Copies two checkpoints of one run, measures them on tiny-arith, and writes `manifest.json`.
"""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from transformers import AutoModelForCausalLM, AutoTokenizer

from opo_eval.errors import InputError, UsageError
from opo_eval.metrics import pass_at_k
from opo_eval.problems.identity import dataset_sha256
from opo_eval.problems.tiny_arith import generate_problems
from opo_eval.store import write_atomically
from opo_eval.tabular import file_sha256
from opo_eval.tiny import CHECKPOINTS_DIR
from opo_eval.tiny.accuracy import count_right, sample_responses
from opo_eval.tiny.command import run_command
from opo_eval.tiny.warm_start import RECORD_FILE, checkpoint_folder

MANIFEST_FILE = "manifest.json"
MEASURED_K = (1, 16)


@dataclass(frozen=True, kw_only=True)
class Release:
    """Copy two checkpoints of a warm start, with a manifest of what they are."""

    run: Path
    """Directory that the warm start wrote."""
    out: Path = CHECKPOINTS_DIR
    """Directory that gets early/, late/ and manifest.json."""
    early: int = 1500
    """Step of the checkpoint that becomes `early`."""
    late: int = 4000
    """Step of the checkpoint that becomes `late`."""
    samples: int = 64
    """Responses drawn for each problem to measure pass@k; at least 16."""
    seed: int = 0
    """Of these responses."""

    def __post_init__(self) -> None:
        if self.samples < max(MEASURED_K):
            raise UsageError(
                f"--samples {self.samples} must be at least {max(MEASURED_K)}, the largest k of pass@k"
            )


def release(settings: Release) -> None:
    """Copy, measure and write the manifest; InputError where the run lacks a file that is needed."""
    steps = {"early": settings.early, "late": settings.late}
    record = orjson.loads(_existing(settings.run / RECORD_FILE).read_bytes())
    sources = {name: _existing(settings.run / checkpoint_folder(step)) for name, step in steps.items()}
    for name, source in sources.items():
        _copy_files(source, settings.out / name)
    manifest = {
        "command": record["command"],
        "provenance": record["provenance"],
        "checkpoints": {
            name: {"step": step, "loss": record["loss_after_step"][str(step)]}
            | _describe(settings.out / name)
            | {"measured": _measure(settings.out / name, settings)}
            for name, step in steps.items()
        },
    }
    write_atomically(settings.out / MANIFEST_FILE, orjson.dumps(manifest, option=orjson.OPT_INDENT_2) + b"\n")


def _existing(path: Path) -> Path:
    if not path.exists():
        raise InputError(f"{path} does not exist: name with --run the directory of a finished warm start")
    return path


def _copy_files(source: Path, target: Path) -> None:
    """Copy contents only: safetensors writes files that nobody but their owner may read."""
    target.mkdir(parents=True, exist_ok=True)
    for file in source.iterdir():
        shutil.copyfile(file, target / file.name)


def _describe(checkpoint: Path) -> dict[str, Any]:
    return {
        "sha256": file_sha256(checkpoint / "model.safetensors"),
        "bytes": sum(file.stat().st_size for file in checkpoint.iterdir()),
    }


def _measure(checkpoint: Path, settings: Release) -> dict[str, Any]:
    problems = generate_problems()
    responses = sample_responses(
        AutoModelForCausalLM.from_pretrained(checkpoint),
        AutoTokenizer.from_pretrained(checkpoint),
        problems,
        n=settings.samples,
        seed=settings.seed,
    )
    n_right = count_right(problems, responses)
    return {
        "dataset_sha256": dataset_sha256(problems),
        "n_problems": len(problems),
        "samples_per_problem": settings.samples,
        "temperature": 1.0,
        "seed": settings.seed,
        **{
            f"pass@{k}": round(float(np.mean(pass_at_k(settings.samples, n_right, k))), 4) for k in MEASURED_K
        },
    }


if __name__ == "__main__":
    sys.exit(run_command(Release, release))
