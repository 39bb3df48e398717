"""Every error that opo_eval raises on purpose.

A message is one sentence that names the value, what is allowed and what to do next. The command line
prints it without a traceback and leaves with the class's exit status.
"""


class OpoEvalError(Exception):
    """The work could not be done; what was already written is kept."""

    exit_status = 1


class InputError(OpoEvalError, ValueError):
    """A file or a value in it is not what it has to be."""


class UsageError(OpoEvalError, ValueError):
    """The call itself is wrong: an unknown name, settings that contradict each other."""

    exit_status = 2


class StoreError(OpoEvalError):
    """A run directory is locked by another writer, damaged, or was made with other settings."""


class Worse(OpoEvalError):
    """A checkpoint is worse than its baseline, and the caller asked to be told by the exit status."""

    exit_status = 3


class ElsewhereError(OpoEvalError):
    """Another process of the same work failed, and says so itself."""


class EngineError(OpoEvalError):
    """A sampling engine, a checkpoint or a cluster cannot be used."""
