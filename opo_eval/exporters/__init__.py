"""What other tools need to go on from here: a training run for verl or TRL."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from opo_eval.errors import UsageError
from opo_eval.wording import listed

if TYPE_CHECKING:
    from opo_eval.exporters.training import TrainingExport
    from opo_eval.rl.config import TrainConfig

TRAINERS = ("verl", "trl")


def export_training(trainer: str, config: "TrainConfig", folder: Path) -> "TrainingExport":
    """Write to a folder what another trainer needs for the run that the settings describe.

    Raises UsageError for settings that it cannot express, InputError or EngineError where the problems or
    the tokenizer cannot be loaded.
    """
    if trainer not in TRAINERS:
        raise UsageError(f"there is no export for {trainer!r}: choose one of {listed(TRAINERS)}")
    export = import_module(f"opo_eval.exporters.{trainer}").export(config.checked())
    export.write(folder)
    return export
