"""Grading a run directory; samples that this grader has graded already are left alone."""

import importlib
import importlib.util
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle

from opo_eval.errors import EngineError, InputError, UsageError
from opo_eval.grading.grader import Grader, Outcome
from opo_eval.progress import Progress
from opo_eval.records import Grade, Problem, Verdict, verdicts_disagree
from opo_eval.store import RunDir
from opo_eval.wording import counted, some_of


@dataclass(frozen=True)
class Graded:
    """What grading a run came to."""

    path: Path
    verdicts: Counter[Verdict]
    n_disagree: int
    """Samples that strict and lenient judge differently."""
    n_before: int
    """Samples that this grader had graded before."""
    refused_golds: tuple[str, ...]
    """Ids of problems whose gold is not accepted as its own answer."""

    def sentences(self) -> list[str]:
        """What happened, for a person."""
        counts = ", ".join(f"{self.verdicts[v]} {v.replace('_', ' ')}" for v in Verdict if self.verdicts[v])
        before = f"; {self.n_before} were graded before" if self.n_before else ""
        said = [
            f"{self.path}: {counted(self.verdicts.total(), 'sample')} graded ({counts or 'none'}){before}"
        ]
        if self.n_disagree:
            said.append(f"{self.n_disagree} of them are judged differently by the lenient verdict")
        if self.refused_golds:
            said.append(
                f"warning: {counted(len(self.refused_golds), 'gold')} cannot be graded against "
                f"({some_of(self.refused_golds)}); their samples count as grader errors: rewrite the golds, "
                "import again and grade"
            )
        return said


def grade_run(run: RunDir, grader: Grader, *, quiet: bool = False) -> Graded:
    """Grade what this grader has not graded; grades are written as verdicts come in.

    Raises StoreError where another process writes to the run.
    """
    problems = {problem.id: problem for problem in run.problems()}
    verdicts: Counter[Verdict] = Counter()
    n_disagree = 0
    with run.writer() as writer:
        done = {key[:2] for key in writer.grades.keys if key[2] == grader.signature}
        total = len(writer.samples.keys) - len(done)
        with Progress(f"grading {run.path}", total, unit="samples", quiet=quiet) as progress:
            for key, outcome in progress.watch(grader.grade(_ungraded(run, problems, done))):
                writer.append_grades([_grade(key, outcome, grader.signature)])
                verdicts[outcome.verdict] += 1
                n_disagree += verdicts_disagree(outcome.verdict, outcome.lenient_verdict)
    refused = () if grader.verifier else _refused(problems, grader)
    return Graded(run.path, verdicts, n_disagree, len(done), refused)


def make_grader(*, graders: int | None = None, ray_address: str | None = None, **settings: Any) -> Grader:
    """A grader in this process or, where `graders` or an address is given, several on a Ray.

    Raises what a Grader and a RayGrader do, EngineError where Ray is not installed.
    """
    if graders is None and ray_address is None:
        return Grader(**settings)
    try:
        from opo_eval.grading.ray_grader import RayGrader
    except ModuleNotFoundError as error:
        raise EngineError(
            f"grading on a Ray needs {error.name}, which is not installed: pip install 'opo-eval[ray]', or "
            "leave out --graders and --ray-address"
        ) from None
    return RayGrader(graders=graders, ray_address=ray_address, **settings)


def load_verifier(name: str, *, option: str = "--verifier") -> Callable[..., Any]:
    """The user's grader, or what else `option` takes, from `module:function` or `file.py:function`.

    Raises UsageError where the name has another form, InputError where it cannot be imported or has no
    such function.
    """
    module_name, colon, function = name.rpartition(":")
    if not colon or not module_name:
        raise UsageError(f"{option} takes module:function or file.py:function, not {name!r}")
    load = _load_file if module_name.endswith(".py") else _import
    verifier = getattr(load(module_name, option), function, None)
    if not callable(verifier):
        raise InputError(f"{module_name} has no function {function!r}: check the name after the colon")
    return verifier


def _ungraded(
    run: RunDir, problems: dict[str, Problem], done: set[tuple[Any, ...]]
) -> Iterator[tuple[tuple[str, int], str, str]]:
    for sample in run.samples():
        if (sample.problem_id, sample.index) not in done:
            yield (sample.problem_id, sample.index), problems[sample.problem_id].answer, sample.text


def _grade(key: Any, outcome: Outcome, signature: str) -> Grade:
    return Grade(
        problem_id=key[0],
        index=key[1],
        verdict=outcome.verdict,
        lenient_verdict=outcome.lenient_verdict,
        extracted=outcome.extracted,
        reason=outcome.reason,
        grader=signature,
    )


def _refused(problems: dict[str, Problem], grader: Grader) -> tuple[str, ...]:
    accepted = grader.check_golds(problem.answer for problem in problems.values())
    return tuple(problem.source_id for problem in problems.values() if not accepted[problem.answer])


def _import(name: str, option: str) -> Any:
    sys.path.insert(0, os.getcwd())  # as `python -m` has it: the user's own folder
    with _importing(name, option):
        return importlib.import_module(name)


def _load_file(name: str, option: str) -> Any:
    path = Path(name)
    if not path.is_file():
        raise InputError(f"there is no file {path} to take {option} from")
    # A name of its own: a file json.py must not stand in for Python's.
    spec = importlib.util.spec_from_file_location(f"opo_eval_verifier_{path.stem}", path)
    assert spec and spec.loader
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    with _importing(str(path), option):
        spec.loader.exec_module(module)
    # A worker cannot import a file that lies anywhere: its functions travel as code.
    cloudpickle.register_pickle_by_value(module)
    return module


@contextmanager
def _importing(name: str, option: str) -> Iterator[None]:
    try:
        yield
    except (Exception, SystemExit) as error:
        said = " ".join(str(error).split())[:200]
        raise InputError(
            f"{name!r} of {option} cannot be imported ({type(error).__name__}: {said}): correct that first"
        ) from None
