r"""The tiny model: a real checkpoint, small enough to ship, that solves tiny-arith some of the time.

A Qwen2 model of 214,144 parameters over single bytes, trained from random weights on synthetic
solutions of which some are wrong (`warm_start`). Two checkpoints of one run are shipped, `early` and
`late`: ordinary Hugging Face directories in float32. `checkpoints/manifest.json` says how they were made
and how often they are right.

The prompt is the template `tiny`, which is the problem's text and an equals sign; the response starts
right after it and ends with the tokenizer's end-of-text token:

    17+5-32=22-32=\boxed{-10}
    └prompt┘└───response────┘

There is no chat template and no beginning-of-text token.
"""

from pathlib import Path

from opo_eval.errors import UsageError

TINY_CHECKPOINTS = ("early", "late")
CHECKPOINTS_DIR = Path(__file__).parent / "checkpoints"


def checkpoint_path(name: str) -> Path:
    """Directory of a shipped checkpoint; UsageError for a name that is not in TINY_CHECKPOINTS."""
    if name not in TINY_CHECKPOINTS:
        shipped = " and ".join(TINY_CHECKPOINTS)
        raise UsageError(f"no tiny checkpoint is named {name!r}: shipped are {shipped}, so name one of them")
    return CHECKPOINTS_DIR / name
