"""Generations made elsewhere → run directories, one file per format."""

from opo_eval.importers.rows import ImportPlan
from opo_eval.importers.table import Imported, import_table

__all__ = ["ImportPlan", "Imported", "import_table"]
