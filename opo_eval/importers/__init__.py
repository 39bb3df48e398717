"""Generations made elsewhere → run directories, one file per format; `FORMATS` lists them."""

from opo_eval.importers.formats import FORMATS, import_path
from opo_eval.importers.plan import ImportPlan
from opo_eval.importers.write import Imported

__all__ = ["FORMATS", "ImportPlan", "Imported", "import_path"]
