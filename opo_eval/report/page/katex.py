"""The library that sets formulas in the page: KaTeX, as the package sphinxcontrib-katex bundles it.

It is an extra (`pip install 'opo-eval[page]'`). The page holds a copy, since it may be opened without a
network; without it formulas are shown as their source. KaTeX is under the MIT licence, which the package has.
"""

from importlib.metadata import PackageNotFoundError, distribution

from opo_eval.errors import StoreError

_PACKAGE, _FILE = "sphinxcontrib-katex", "sphinxcontrib/katex.min.js"


def katex_script() -> str | None:
    """The library's script; None where the extra is not installed.

    Raises StoreError where the package is there without its script.
    """
    try:
        path = distribution(_PACKAGE).locate_file(_FILE)
    except PackageNotFoundError:
        return None
    try:
        return str(path.read_text(encoding="utf-8"))  # type: ignore[attr-defined]
    except OSError as error:
        raise StoreError(
            f"{_PACKAGE} has no {_FILE} ({error.strerror}): install it again, or uninstall it to have the "
            "page without set formulas"
        ) from None
