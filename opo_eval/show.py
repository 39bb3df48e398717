"""A run's problems and samples as text for a terminal.

Responses are hostile: control characters, which could drive the terminal, are shown as escapes.
"""

import shutil
import textwrap
from collections import Counter
from collections.abc import Iterable

from opo_eval.errors import InputError
from opo_eval.measure import choose_grader
from opo_eval.records import Grade, GradedSample, Problem, Verdict
from opo_eval.store import RunDir
from opo_eval.wording import nearest, some_of

_LONGEST_RESPONSE = 4_000


def show_problems(run: RunDir, grader: str | None = None) -> str:
    """One line a problem: its own id, how many samples were correct, and how it begins."""
    index = run.index()
    chosen = choose_grader(index, grader)
    sampled = [problem for problem in index.problems if problem.id in index.samples]
    width = max((len(_one_line(problem.source_id)) for problem in sampled), default=0)
    settings = run.manifest.settings
    lines = [_one_line(f"{settings.checkpoint.name} on {settings.benchmark}, graded by {chosen or 'nobody'}")]
    for problem in sampled:
        score = _score(len(index.samples[problem.id]), index.grades_of(problem.id, chosen))
        line = f"{_one_line(problem.source_id):{width}}  {score:>8}  {_one_line(problem.prompt)}"
        lines.append(textwrap.shorten(line, _width(), placeholder=" ...") if len(line) > _width() else line)
    return "\n".join(lines)


def show_problem(run: RunDir, wanted: str, grader: str | None = None) -> str:
    """A problem, its gold, and every sample with verdict, answer, finish and text.

    Raises InputError where `wanted` is no problem of the run, or part of several.
    """
    problem = find_problem(run, wanted)
    index = run.index()
    parts = [_heading(problem)]
    for group in index.groups(choose_grader(index, grader), only={problem.id}):
        score = _score(len(group.samples), (graded.grade for graded in group.samples if graded.grade))
        parts += [f"{score} correct", *map(_sample, group.samples)]
    return "\n\n".join(parts if len(parts) > 1 else [*parts, "no samples of this problem yet"])


def find_problem(run: RunDir, wanted: str) -> Problem:
    """The problem with this id or benchmark's own id; else the only one whose id begins so or whose
    benchmark's own id has this in it.

    Raises InputError where there is none or there are several.
    """
    problems = run.problems()
    for problem in problems:
        if wanted in (problem.id, problem.source_id):
            return problem
    partly = [p for p in problems if p.id.startswith(wanted) or wanted in p.source_id]
    if len(partly) == 1:
        return partly[0]
    if not partly:
        hint = nearest(wanted, [problem.source_id for problem in problems])
        raise InputError(
            f"{run.path} has no problem {wanted!r}{hint}: `opo-eval show {run.path}` lists its problems"
        )
    names = some_of([_one_line(problem.source_id) for problem in partly])
    raise InputError(f"{wanted!r} fits {len(partly)} problems of {run.path} ({names}): give a whole id")


def visible(text: str) -> str:
    """Text with control characters as escapes, except line breaks and tabs."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def _one_line(text: str) -> str:
    return visible(" ".join(text.split()))


def _heading(problem: Problem) -> str:
    tags = "".join(f"  {name}={value}" for name, value in problem.tags.items())
    return visible(f"{problem.source_id}  [{problem.id}]{tags}\n\n{problem.prompt}\n\ngold: {problem.answer}")


def _score(n_samples: int, grades: Iterable[Grade]) -> str:
    verdicts = Counter(grade.verdict for grade in grades)
    return f"{verdicts[Verdict.CORRECT] if verdicts else '?'}/{n_samples}"


def _sample(graded: GradedSample) -> str:
    sample, grade = graded.sample, graded.grade
    facts = [f"sample {sample.index}"]
    if grade:
        lenient = f", lenient {grade.lenient_verdict}" if grade.lenient_verdict else ""
        facts.append(f"{grade.verdict} ({grade.reason}{lenient}), answer {grade.extracted!r:.200}")
    facts.append(f"finish {sample.finish or 'unknown'}")
    if sample.n_tokens is not None:
        facts.append(f"{sample.n_tokens} tokens")
    left_out = len(sample.text) - _LONGEST_RESPONSE
    more = f"\n[... {left_out} more characters in the run]" if left_out > 0 else ""
    return f"--- {visible('; '.join(facts))}\n{visible(sample.text[:_LONGEST_RESPONSE])}{more}"


def _width() -> int:
    return shutil.get_terminal_size((100, 24)).columns
