"""What a grader on Ray is in its actor's process: a grader with worker processes of its own."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from opo_eval.grading.grader import Grader
from opo_eval.grading.worker import unpickled


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a grader says of itself when it is there."""

    signature: str
    host: str
    """Name of its machine."""
    pid: int
    """Of its process there."""


def load_grader(settings: Mapping[str, Any], verifier: str | None) -> tuple[Grader, About]:
    """Make a grader; verifier: as `pool.pickled` has it."""
    grader = Grader(**settings, verifier=unpickled(verifier) if verifier else None)
    return grader, About(signature=grader.signature, host=socket.gethostname(), pid=os.getpid())
