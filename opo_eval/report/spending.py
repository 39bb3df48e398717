"""What the responses of a report cost: tokens, which are in its pages, and time, which is in its manifest."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from opo_eval.records import Manifest, MetricTable
from opo_eval.report.grid import NONE, Grid, grid_of
from opo_eval.report.views import BenchmarkView
from opo_eval.wording import some_of

if TYPE_CHECKING:
    from opo_eval.compare import ComparedRuns

_HOUR = 3600


def tokens_grid(view: BenchmarkView) -> Grid:
    """One row a checkpoint: tokens of all its responses, as far as their numbers are known."""
    rows = [(view.checkpoints[table.checkpoint], *_tokens(table)) for table in view.tables]
    return grid_of(("checkpoint", "samples", "tokens generated", "samples of unknown length"), rows)


def tokens_sentence(views: Sequence[BenchmarkView]) -> str:
    """Tokens generated for the whole report."""
    counts = [n for view in views for table in view.tables for n in table.outcomes.tokens]
    known = [n for n in counts if n is not None]
    if not known:
        return f"Tokens generated: not known of any of {len(counts):,} samples."
    unknown = len(counts) - len(known)
    but = f" ({unknown:,} more samples are of unknown length)" if unknown else ""
    return f"Tokens generated: {sum(known):,} in {len(known):,} samples{but}; prompts are not counted."


def _tokens(table: MetricTable) -> tuple[str, str, str]:
    known = [n for n in table.outcomes.tokens if n is not None]
    n_samples = len(table.outcomes.tokens)
    return f"{n_samples}", f"{sum(known)}" if known else NONE, f"{n_samples - len(known)}"


# --- time -------------------------------------------------------------------------------------------


def time_spent(manifest: Manifest) -> dict[str, Any]:
    """Wall-clock hours of sampling, on what, and device hours: wall-clock hours times devices at work.

    Where parts of a run were drawn with different numbers of devices it is not known how long with which:
    the device hours are then those of the largest number, and say so.
    """
    numbers = sorted({its.n_devices for its in manifest.provenance}) or [1]
    hours = manifest.wall_time_s / _HOUR
    return {
        "wall_hours": round(hours, 6),
        "devices": sorted({its.device for its in manifest.provenance}),
        "n_devices": numbers,
        "device_hours": round(hours * numbers[-1], 6),
        "device_hours_are_at_most": len(numbers) > 1,
    }


def all_time_spent(compared: "ComparedRuns") -> dict[str, Any]:
    """The sums over all runs of a report."""
    each = [time_spent(run.manifest) for run in compared.runs]
    return {
        "wall_hours": round(sum(its["wall_hours"] for its in each), 6),
        "device_hours": round(sum(its["device_hours"] for its in each), 6),
        "device_hours_are_at_most": any(its["device_hours_are_at_most"] for its in each),
        "devices": sorted({device for its in each for device in its["devices"]}),
        "runs_without_time": sum(not its["wall_hours"] for its in each),
    }


def time_sentence(compared: "ComparedRuns") -> str | None:
    """`Sampling took 0.52 wall-clock hours, 2.08 device hours (cuda).`; None where no run knows its time."""
    spent = all_time_spent(compared)
    if not spent["wall_hours"]:
        return None
    at_most = "at most " if spent["device_hours_are_at_most"] else ""
    unknown = spent["runs_without_time"]
    but = f"; of {unknown} of {len(compared.runs)} runs the time is not known" if unknown else ""
    return (
        f"Sampling took {spent['wall_hours']:.3g} wall-clock hours, {at_most}{spent['device_hours']:.3g} "
        f"device hours ({some_of(spent['devices'])}){but}."
    )
