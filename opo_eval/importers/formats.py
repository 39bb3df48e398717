"""The formats that can be imported: one line each."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from opo_eval.errors import InputError, UsageError
from opo_eval.importers import inspect_ai, lighteval, lm_eval, openai_batch, table, trl, verl
from opo_eval.importers.log import Log, PlacedRows
from opo_eval.importers.plan import ImportPlan
from opo_eval.importers.write import Imported, import_logs
from opo_eval.wording import listed, nearest


@dataclass(frozen=True)
class Format:
    """is_log: whether a path is for sure of this format. read_logs: the logs that a plan's path holds."""

    is_log: Callable[[Path], bool]
    read_logs: Callable[[ImportPlan], Sequence[Log]]


FORMATS = {
    "lm-eval": Format(lm_eval.is_log, lm_eval.read_logs),
    "inspect": Format(inspect_ai.is_log, inspect_ai.read_logs),
    "lighteval": Format(lighteval.is_log, lighteval.read_logs),
    "trl": Format(trl.is_log, trl.read_logs),
    "verl": Format(verl.is_log, verl.read_logs),
    "openai-batch": Format(openai_batch.is_log, openai_batch.read_logs),
    "table": Format(lambda path: False, table.read_logs),
}


def import_path(plan: ImportPlan) -> Imported:
    """Import what the plan's path holds, in its format or the one that it is for sure.

    Raises UsageError for an unknown format, and as `import_logs` does.
    """
    name = _format_name(plan)
    with _as_written_by(name, plan.path):
        logs = FORMATS[name].read_logs(plan)
    return import_logs(plan, [replace(log, rows=partial(_rows, log)) for log in logs])


def _rows(log: Log) -> PlacedRows:
    with _as_written_by(log.format, log.path):
        yield from log.rows()


@contextmanager
def _as_written_by(name: str, path: Path) -> Iterator[None]:
    """Say of a log that lacks something deep inside what it is, in one sentence."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is not as a known version of {name} writes it ({type(error).__name__}: {error}): it may "
            "be of another version or damaged; --format table with --map reads what is a table"
        ) from error


def _format_name(plan: ImportPlan) -> str:
    if plan.format is None:
        # Whoever says where the responses are means a table.
        known = [] if "response" in plan.columns else [n for n, of in FORMATS.items() if of.is_log(plan.path)]
        return known[0] if len(known) == 1 else "table"
    if plan.format not in FORMATS:
        raise UsageError(
            f"--format has no {plan.format!r}{nearest(plan.format, FORMATS)}: known are {listed(FORMATS)}"
        )
    return plan.format
