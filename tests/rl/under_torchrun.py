"""What tests/rl/test_processes.py runs in two processes: `torchrun ... under_torchrun.py OUT`."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rl.tiny_policy import tiny_config
from rl.updates import GROUPS, SIZE, handmade_rows, run_update

from opo_eval.errors import InputError, OpoEvalError
from opo_eval.rl.config import METHODS, Aggregation, Method
from opo_eval.rl.processes import Processes, join
from opo_eval.rl.trainer import train
from opo_eval.rl.update import split_groups

_ALL = METHODS["opo"]
_PENALISED = Method(advantage="opo", entropy_coefficient=0.3, kl_coefficient=0.2)
_TOKENS = Method(advantage="opo", aggregation=Aggregation.TOKEN_MEAN)
_LOOSE_WITH_KL = replace(METHODS["grpo_loose"], kl_coefficient=0.1)

CASES: dict[str, tuple[Method, int, dict[str, Any]]] = {
    "opo": (_ALL, GROUPS, {}),
    "in many micro-batches": (_ALL, GROUPS, {"max_tokens": 40}),
    "one process has a row less": (_ALL, 1, {"max_tokens": 1}),
    "entropy bonus and KL penalty": (_PENALISED, GROUPS, {"max_tokens": 70}),
    "mean over tokens": (_TOKENS, GROUPS, {}),
    "two mini-batches that move": (
        _LOOSE_WITH_KL,
        GROUPS,
        {"max_tokens": 60, "rate": 0.01, "gradient_clip": 1.0},
    ),
    "a head of its own": (_ALL, 1, {"tied": False, "max_tokens": 1}),
    "gradient checkpointing": (_ALL, GROUPS, {"checkpointing": True, "max_tokens": 70}),
    "clipped": (_ALL, GROUPS, {"gradient_clip": 0.5}),
    "float32": (_ALL, GROUPS, {"dtype": torch.float32, "max_tokens": 70}),
    "bfloat16": (_ALL, GROUPS, {"dtype": torch.float32, "arithmetic": torch.bfloat16}),
}
"""Name → method, groups of the rollout, how it is run."""


def learnt(case: str, processes: Processes | None = None) -> dict[str, Any]:
    """The gradients and sums of a case."""
    method, n_groups, options = CASES[case]
    rows = handmade_rows(method.aggregation, split_groups(n_groups, SIZE, method.mini_batches))
    gradients, sums = run_update(rows[: n_groups * SIZE], method, processes=processes, **options)
    return {
        "gradients": gradients,
        "tokens": sums.tokens,
        "losses": sums.losses,
        "norms": sums.gradient_norms,
    }


def refused(call: Callable[[], Any]) -> tuple[str, str]:
    """Name and words of the error that a call ends in."""
    try:
        call()
    except OpoEvalError as error:
        return type(error).__name__, str(error)
    return "", ""


def fail_second(processes: Processes) -> None:
    """Raise in the second process only."""
    if processes.rank == 1:
        raise InputError("the second has no problems")


def main(out: Path) -> None:
    """Every case, and what all processes hear of one that fails; a file for each process."""
    processes = join()
    found = {case: learnt(case, processes) for case in CASES}
    gathered = processes.divide(range(5), lambda share: [(processes.rank, item) for item in share])
    failure = refused(lambda: processes.agree(lambda: processes.agree(lambda: fail_second(processes))))
    processes.close()
    nothing = refused(lambda: train(tiny_config(out / "run", problems="nowhere.jsonl"), quiet=True))
    torch.save(
        {"cases": found, "failure": failure, "gathered": gathered, "nothing": nothing},
        out / f"{processes.rank}.pt",
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
