"""All of the page as one file, in which nothing can run but its own script and nothing can be asked for.

The page's policy lists the digests of its scripts and its style, and no source for anything else, so that no
markup, whatever it holds, runs or loads. Nothing from outside is markup to begin with: data and texts are in
elements that the browser does not read as HTML, and the script puts them on the page as text. What the page
needs at once comes first; the compressed texts come last, while it can be used already.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from opo_eval.report.figures import Drawing
from opo_eval.report.names import one_line
from opo_eval.report.page.bodies import Block, Place, blocks_within, evenly_first
from opo_eval.report.page.forking import ForkingTokens, forking_tokens, has_entropies
from opo_eval.report.page.katex import katex_script
from opo_eval.report.page.report import report_json
from opo_eval.report.page.samples import (
    Asked,
    asked,
    benchmark_json,
    new_words,
    run_names,
    worth_keeping,
)
from opo_eval.report.views import BenchmarkView, rows_of
from opo_eval.wording import counted, some_of

if TYPE_CHECKING:
    from opo_eval.compare import ComparedRuns

MOST_BYTES = 60_000_000
"""What the page leaves out texts to keep to."""
SCRIPTS = (
    "dom", "state", "data", "base85", "bzip2", "bodies", "tables", "report", "tex", "ngrams", "text",
    "filters", "list", "problem", "keys", "main",
)  # fmt: skip
_REP_N = re.compile(r"rep_(\d+)")
_USUAL_REP_N = 5
_SLOT = re.compile(r"\{(policy|style|data|scripts)\}")
_BLOCKS_HERE = b"{blocks}"
_NAMED_AT_MOST = 4
_POLICY = (
    "default-src 'none'; script-src {scripts}; style-src {style}; img-src data:; base-uri 'none'; "
    "form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)


def page_html(
    compared: "ComparedRuns",
    views: Sequence[BenchmarkView],
    drawings: Sequence[Drawing],
    *,
    name: str,
    most_bytes: int = MOST_BYTES,
    quiet: bool = False,
) -> bytes:
    """The page of a comparison: the same bytes for the same runs, wherever they lie.

    most_bytes: of the file. Where the texts do not fit, those of some problems are left out, evenly chosen,
    flips and disagreements of strict and lenient last, and the page says so. Packing many texts shows its
    progress unless it is to be `quiet`. Without the extra `page` formulas are shown as their source.
    """
    benchmarks = asked(compared, views)
    forking = _forking(benchmarks)
    parts = _parts(compared, views, drawings, benchmarks, name) | _forking_json(benchmarks, forking)
    scripts = [*filter(None, [katex_script()]), own_script()]
    n_problems = sum(len(benchmark.problems) for benchmark in benchmarks)
    bare = _whole(parts | {"left_out": _left_out(benchmarks, n_problems)}, scripts, ())
    order = evenly_first([worth_keeping(own) for own in parts["benchmarks"]])
    blocks = blocks_within(benchmarks, order, forking, most_bytes - len(bare), quiet=quiet)
    parts["benchmarks"] = [_with_blocks(own, i, blocks) for i, own in enumerate(parts["benchmarks"])]
    parts["left_out"] = _left_out(benchmarks, n_problems - len(blocks))
    return _whole(parts, scripts, [block for place in sorted(blocks) for block in blocks[place]])


# --- what is in it ----------------------------------------------------------------------------------


def _parts(
    compared: "ComparedRuns",
    views: Sequence[BenchmarkView],
    drawings: Sequence[Drawing],
    benchmarks: Sequence[Asked],
    name: str,
) -> dict[str, Any]:
    words = new_words()
    found = [benchmark_json(benchmark, words) for benchmark in benchmarks]
    return {
        "name": one_line(name, 100),
        "report": report_json(compared, views, drawings),
        "benchmarks": found,
        "words": {kind: list(own.places) for kind, own in words.items()},
        "rep_order": _rep_order(views),
    }


def _forking(benchmarks: Sequence[Asked]) -> dict[Place, ForkingTokens]:
    """By benchmark and run, where they are known."""
    found = {
        (i, j): forking_tokens(run)
        for i, benchmark in enumerate(benchmarks)
        for j, run in enumerate(benchmark.runs)
    }
    return {place: own for place, own in found.items() if own}


def _forking_json(benchmarks: Sequence[Asked], forking: Mapping[Place, ForkingTokens]) -> dict[str, Any]:
    lacking = [
        run.label
        for i, benchmark in enumerate(benchmarks)
        for j, run in enumerate(benchmark.runs)
        if (i, j) not in forking and has_entropies(run)
    ]
    named = some_of(list(dict.fromkeys(lacking)), _NAMED_AT_MOST)
    note = f"No forking tokens of {named}: entropies or tokenizer are not at hand." if lacking else ""
    return {"has_forking": bool(forking), "forking_note": note}


def _rep_order(views: Sequence[BenchmarkView]) -> int:
    """The n of the tables' Rep-n."""
    metrics = (metric for view in views for table in view.tables for metric in rows_of(table))
    return next((int(match[1]) for metric in metrics if (match := _REP_N.fullmatch(metric))), _USUAL_REP_N)


def _with_blocks(
    benchmark: dict[str, Any], place: int, blocks: Mapping[Place, list[Block]]
) -> dict[str, Any]:
    problems = [
        own | {"blocks": [(block.id, block.runs) for block in blocks[place, i]]}
        if (place, i) in blocks
        else own
        for i, own in enumerate(benchmark["problems"])
    ]
    return benchmark | {"problems": problems}


def _left_out(benchmarks: Sequence[Asked], n_problems: int) -> str:
    """The sentence on problems whose texts are not in the page; nothing where all are."""
    if not n_problems:
        return ""
    n_all = sum(len(benchmark.problems) for benchmark in benchmarks)
    names = [name for benchmark in benchmarks for name in run_names(benchmark)]
    return (
        f"The page is limited in size: it has no response texts of {n_problems} of "
        f"{counted(n_all, 'problem')}. They are in the run directories {some_of(names, _NAMED_AT_MOST)} "
        "(whole paths: the report's manifest.json); `opo-eval show RUN PROBLEM` prints them."
    )


# --- the file ---------------------------------------------------------------------------------------


@cache
def own_script() -> str:
    """The page's own script: its modules in one scope that nothing else can reach."""
    folder = files(__package__) / "js"
    modules = (folder.joinpath(f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    return f'"use strict";\n(() => {{\n{"".join(modules)}}})();\n'


@cache
def _file(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _whole(parts: Mapping[str, Any], scripts: Sequence[str], blocks: Sequence[Block]) -> bytes:
    inert = [_inert(script) for script in scripts]
    style = _file("page.css")
    slots = {
        "policy": _POLICY.format(scripts=" ".join(map(_digest, inert)), style=_digest(style)),
        "style": style,
        "data": json.dumps(parts, separators=(",", ":")).replace("<", "\\u003c"),
        "scripts": "\n".join(f"<script>{script}</script>" for script in inert),
    }
    filled = _SLOT.sub(lambda slot: slots[slot[1]], _file("skeleton.html"))
    before, after = filled.encode().split(_BLOCKS_HERE)
    return b"\n".join([before, *(block.element for block in blocks), after])


def _inert(script: str) -> str:
    """A script in which nothing ends its element: in JavaScript's strings a backslash there means nothing."""
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _digest(text: str) -> str:
    """As a policy names it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
