"""Generations in a table (JSON Lines, JSON, CSV, Parquet), its columns named by the user or as is usual.

A row is one sample, or a problem with a list of samples. Without a checkpoint or a benchmark in it or
beside it, the file's name stands for them.
"""

from collections.abc import Sequence
from functools import partial

from opo_eval.errors import InputError
from opo_eval.importers.log import Log, table_rows
from opo_eval.importers.plan import USUAL_COLUMNS, ImportPlan, usual_columns
from opo_eval.problems.user_file import benchmark_name
from opo_eval.wording import listed


def read_logs(plan: ImportPlan) -> Sequence[Log]:
    """The table as a log. Raises InputError where no column can be the responses'."""
    _, first = next(table_rows(plan.path))
    columns = usual_columns(first)
    if "response" not in columns | dict(plan.columns):
        raise InputError(
            f"{plan.path} has no column named {listed(USUAL_COLUMNS['response'])}: name the one "
            f"that holds the responses with --map response=COLUMN; it has {listed(first)}"
        )
    return [
        Log(
            format="table",
            path=plan.path,
            rows=partial(table_rows, plan.path),
            columns=columns,
            ids_are_the_sets=True,
            checkpoint=plan.checkpoint or benchmark_name(plan.path),
            benchmark=benchmark_name(plan.path),
        )
    ]
