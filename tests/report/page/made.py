"""Runs for page tests: two checkpoints, flips both ways, and responses that attack the page."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from builders import sample, settings

from opo_eval.compare import ComparedRuns, compare_runs
from opo_eval.problems import make_problem
from opo_eval.records import Finish, Grade, Problem, Reason, Verdict
from opo_eval.report.figures import FIGURES, draw
from opo_eval.report.page import page_html
from opo_eval.report.views import benchmark_views
from opo_eval.store import RunDir, RunWriter

C, W, N = Verdict.CORRECT, Verdict.WRONG, Verdict.NO_ANSWER
N_SAMPLES = 4

HOSTILE = {
    "script": "<script>window.pwned = 1; alert(1)</script> and </script><script>window.pwned = 2</script>",
    "textarea": "</textarea><img src=x onerror='window.pwned=3'><img src=http://127.0.0.1:9/leak>",
    "comment": "<!--<script> --> </script --> <!-- ]]> <plaintext>",
    "separators": "line\u2028separator\u2029paragraph",
    "null": "a\x00b\x08c\x1bd",
    "rtl": "user\u202egnp.exe\u202c and \u2066isolated\u2069 and \u200bzero",
    "entities": "&lt;b&gt; &amp; &#60;script&#62; \\u003cscript\\u003e",
    "style": "<style>*{display:none}</style><link rel=stylesheet href=http://127.0.0.1:9/x.css>",
    "frame": "<iframe srcdoc='<script>parent.pwned=4</script>'></iframe><svg onload=pwned=5>",
    "math": "<math href=javascript:pwned=6><mtext><img src=x onerror=pwned=7></mtext></math>",
    "wide": "😀 𝔸 é ü 中文 " + "x" * 3000,
    "carriage": "first\r\nsecond\rthird\tfourth",
    "empty": "",
}
"""Name → response. A surrogate on its own cannot be in a run: JSON has no place for it."""

_LEVELS = (("x", "a"), (r"\a", "b"), (r"\b", "c"), (r"\c", "d"))
TEX = {
    "link": r"$\href{javascript:window.pwned=7}{x}$ $\url{http://127.0.0.1:9/u}$",
    "image": r"$\includegraphics{http://127.0.0.1:9/i.png}$",
    "html": r"$\htmlStyle{position:fixed;inset:0}{x}$ $\htmlClass{top}{y}$ $\htmlData{a=b}{z}$",
    "rule": r"$\rule{1000000em}{1000000em}$ $\kern{99999em}x$",
    "bomb": "$" + "".join(rf"\def\{new}{{{old * 10}}}" for old, new in _LEVELS) + r"\d\d\d$",
    "loop": r"$\def\x{\x\x}\x$",
    "deep": "$" + "{" * 500 + "x" + "}" * 500 + "$",
    "roots": "$" + r"\sqrt{" * 23 + "x" + "}" * 23 + "$",
    "fractions": "$" + r"\frac{1}{" * 23 + "x" + "}" * 23 + "$",
    "wrong": r"$\frac{1}{$ and $\undefinedmacro$",
    "styled": r"$\fcolorbox{red}{blue}{x}$ $\pmb{y}$ $\colorbox{red}{z}$ $\cancel{w}$ $\boxed{v}$",
    "dollars": "$" * 20_000,
    "braces": "$" + "{" * 100_000,
    "openers": r"\(" * 20_000 + r"\[" * 20_000,
}
"""Name → response whose formulas attack the library or the browser."""


def problems() -> list[Problem]:
    """One a response of each kind, and plain ones for filters; levels 1 to 3."""
    names = [*HOSTILE, *TEX, *(f"plain{i}" for i in range(10))]
    return [
        make_problem(
            benchmark="sums",
            source_id=name,
            prompt=f"{name}: what is $\\frac{{{i}}}{{1}} + 1$ < <b>two</b>?",
            answer=str(i + 1),
            tags={"level": str(1 + i % 3), "kind": "plain" if name.startswith("plain") else "hostile"},
        )
        for i, name in enumerate(names)
    ]


def texts_of(name: str, checkpoint: str) -> list[str]:
    """The four responses to the problem of this name."""
    plain = (
        f"{checkpoint} says of {name}: " + "we add one to it and get it. " * 3 + r"So \(x^2\) is \boxed{1}."
    )
    attack = HOSTILE.get(name, TEX.get(name))
    return [plain if attack is None else attack, plain, f"{plain} needle-{name}", f"{plain} $5 and $6"]


def verdicts_of(number: int, checkpoint: str) -> list[Verdict]:
    """Before: each third problem is solved; after: each fourth; so they flip both ways."""
    solved = number % 3 == 0 if checkpoint == "before" else number % 4 == 0
    return [C, C, C, W] if solved else [W, N, W, C if number % 5 == 0 else W]


def lenient_of(number: int, verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The same but for the first sample of each seventh problem."""
    other = W if verdicts[0] is C else C
    return [other if number % 7 == 0 else verdicts[0], *verdicts[1:]]


def finishes_of(number: int, checkpoint: str) -> list[Finish]:
    """Each fifth problem is cut once, by the first checkpoint only."""
    cut = checkpoint == "before" and number % 5 == 1
    return [Finish.LENGTH if cut else Finish.STOP] + [Finish.STOP] * (N_SAMPLES - 1)


def hostile_runs(folder: Path, checkpoints: Sequence[str] = ("before", "after")) -> list[RunDir]:
    """A run a checkpoint."""
    return [write_run(folder / name / "sums", problems(), name) for name in checkpoints]


def write_run(path: Path, asked: Sequence[Problem], checkpoint: str) -> RunDir:
    """A run directory with the responses and verdicts above."""
    with RunWriter(path, settings(asked, checkpoint=checkpoint), asked) as writer:
        for number, problem in enumerate(asked):
            texts = texts_of(problem.source_id, checkpoint)
            ends = finishes_of(number, checkpoint)
            writer.append_samples(
                sample(problem, i, text, checkpoint=checkpoint, finish=ends[i], seed=100 + i, n_tokens=10 + i)
                for i, text in enumerate(texts)
            )
            writer.append_grades(_grades(problem, number, checkpoint))
    return RunDir(path)


def _grades(problem: Problem, number: int, checkpoint: str) -> list[Grade]:
    verdicts = verdicts_of(number, checkpoint)
    lenient = lenient_of(number, verdicts)
    answers = [f"{problem.answer}<i>" if v is C else None if v is N else "0" for v in verdicts]
    return [
        Grade(
            problem_id=problem.id,
            index=i,
            verdict=verdicts[i],
            lenient_verdict=lenient[i],
            extracted=answers[i],
            reason=Reason.EQUIVALENT if verdicts[i] is C else Reason.NOT_EQUIVALENT,
            grader="g",
        )
        for i in range(N_SAMPLES)
    ]


def compared_runs(runs: Sequence[RunDir]) -> ComparedRuns:
    """As `opo-eval compare` compares them."""
    return compare_runs(runs, quiet=True)


def page_of(compared: ComparedRuns, *, figures: bool = False, **options: object) -> bytes:
    """The page, with its figures where they are asked for."""
    views = benchmark_views(compared)
    drawings = [draw(name, view) for view in views for name in (FIGURES if figures else ())]
    return page_html(compared, views, drawings, name="before & <after>", **({"quiet": True} | options))


def flips() -> Mapping[str, str]:
    """Problem's own id → gained or lost, by the verdicts above."""
    found = {}
    for number, problem in enumerate(problems()):
        was, now = (verdicts_of(number, name).count(C) > N_SAMPLES / 2 for name in ("before", "after"))
        if was != now:
            found[problem.source_id] = "gained" if now else "lost"
    return found
