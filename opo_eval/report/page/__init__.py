"""`report.html`: the report and every sample behind it as one page that needs no server and no network.

samples.py   what was asked and answered: problems, verdicts, extracted answers
tables.py    the report's tables, each cell with the number behind it
report.py    verdicts, tables and figures, benchmark by benchmark
bodies.py    the responses' texts, compressed, as many as the page may hold
forking.py   where the tokens of high entropy are in a text
katex.py     the library that sets formulas
document.py  all of it as one file, under a policy by which only the page's own script can run
js/          what the browser runs, in the order of `document.SCRIPTS`
"""

from opo_eval.report.page.document import MOST_BYTES, page_html

__all__ = ["MOST_BYTES", "page_html"]
