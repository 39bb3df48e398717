"""What the commands of this folder share: settings from flags, errors without a traceback."""

import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

import tyro

from opo_eval.errors import OpoEvalError

Settings = TypeVar("Settings")


def run_command(
    settings_type: type[Settings], work: Callable[[Settings], None], arguments: Sequence[str] | None = None
) -> int:
    """Read settings from the command line (or `arguments`), do the work, and return the exit status.

    A known error is printed as its sentence. Wrong flags leave through SystemExit with status 2.
    """
    settings = tyro.cli(settings_type, args=arguments)
    try:
        work(settings)
    except OpoEvalError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    return 0
