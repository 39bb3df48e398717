"""One grading worker: `python -m opo_eval.grading.worker`, driven by `pool` over its standard streams.

Model output is hostile input, and sympy evaluates what it parses. So the work is done in a process that
can be killed, with its memory capped and, once math-verify is loaded, with an audit hook that refuses
to start programs, open sockets or change files.

Protocol: one JSON line in for the settings; then, for each line in (a list of jobs), one line out for
each job, in order.
"""

import base64
import json
import math
import numbers
import os
import re
import resource
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any, BinaryIO

from opo_eval.records import Verdict

# What a job can answer, besides a Verdict of the user's own verifier.
CORRECT, NOT_EQUIVALENT, PARTS_DIFFER, UNPARSED_ANSWER, UNPARSED_GOLD, NO_ANSWER, RAISED, MEMORY = (
    "correct",
    "not_equivalent",
    "parts_differ",
    "unparsed_answer",
    "unparsed_gold",
    "no_answer",
    "raised",
    "memory_limit",
)

_CPU_GRACE_S = 5
_WARM_UP = (
    (r"\frac{1}{2}+\sqrt{3}x", r"x^2-2x+1"),
    (r"(3,\frac{\pi}{2})", r"(-\infty,1]\cup[2,3)"),
    (r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}", r"\begin{pmatrix} 1 & 2 \\ 3 & 5 \end{pmatrix}"),
)
"""(gold, answer): what every worker judges before it is ready."""
_MATH_DELIMITER = re.compile(r"(?<!\\)(?:\$|\\\(|\\\[|\\boxed)")
_TOKEN = re.compile(r"\\(?:begin|end)\s*\{\w+\*?\}|\\.|\$", re.DOTALL)
_DELIMITERS = ("$", r"\(", r"\)", r"\[", r"\]")
_COMMAND = re.compile(r"[A-Za-z]{2}")
_OUTER_BREAKS = re.compile(r"^(?:\s|\\\\(?![A-Za-z]))+|(?:\s|\\\\)+$")
_WORDS = r"(?:\\(?:text|textbf|mbox|mathrm)\{|[A-Za-z\s.,:;'}-])*"
_ONE_FORMULA_IN_WORDS = re.compile(
    rf"(?P<before>{_WORDS})(?<!\\)\$(?P<formula>[^$]+)(?<!\\)\$(?P<after>{_WORDS})"
)
_OTHER_GUESS = re.compile(r"\b(?:or|and|not)\b", re.IGNORECASE)
_REFUSED_EVENTS = (
    "os.system",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.spawn",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.mkdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.chmod",
    "os.chown",
    "os.utime",
    "os.kill",
    "subprocess.",
    "socket.",
    "shutil.",
    "ctypes.",
    "pty.",
)


def main() -> None:
    """Serve jobs until standard input ends."""
    requests, replies = sys.stdin.buffer, _take_stdout()
    settings = json.loads(requests.readline())
    try:
        judge = _prepare(settings)
    except Exception as error:
        _reply(replies, {"failed": f"{type(error).__name__}: {error}"})
        return
    _reply(replies, {"ready": os.getpid()})
    for line in requests:
        for job in json.loads(line):
            _cap_cpu(settings["timeout_s"])
            outcome = _judge_safely(judge, job)
            _reply(replies, {"outcome": outcome, "resident_mb": _memory()[1] >> 20})


def _prepare(settings: dict[str, Any]) -> Callable[[dict[str, str]], str]:
    if settings["verifier"]:
        verifier = unpickled(settings["verifier"])
        _cap_memory(settings["memory_mb"])
        return lambda job: _own_verdict(verifier, job["gold"], job["text"])
    import logging

    logging.disable(logging.CRITICAL)
    _level_parsers()
    for gold, answer in _WARM_UP:
        # Loads what a verdict needs before the doors close, and fills the parser's tables, a matter of a
        # second that would otherwise count against the limit of whoever comes first.
        _judge_strict(gold, answer)
    _cap_memory(settings["memory_mb"])
    sys.addaudithook(_refuse_side_effects)
    return lambda job: _JUDGES[job["kind"]](job["gold"], job["text"])


def _level_parsers() -> None:
    """Make verdicts the same under every ANTLR runtime that math-verify takes.

    The parser generated for runtime 4.9.3 lacks an accessor that the conversion asks every atom for before
    it comes to percentages, so that 50% is no number there; without the gamma function it has nothing to
    give.
    """
    from latex2sympy2_extended.antlr_parser import PSParser

    if not hasattr(PSParser.AtomContext, "FUNC_GAMMA"):
        PSParser.AtomContext.FUNC_GAMMA = lambda _: None


def _judge_safely(judge: Callable[[dict[str, str]], str], job: dict[str, str]) -> str:
    try:
        return judge(job)
    except MemoryError:
        return MEMORY
    except Exception:
        return RAISED


# --- verdicts by math-verify ------------------------------------------------------------------------


def _judge_gold(gold: str, _: str) -> str:
    """Whether a gold parses and is accepted as its own answer."""
    if not _parse_wrapped(gold):
        return UNPARSED_GOLD
    return _judge_strict(gold, gold)


def _judge_strict(gold: str, answer: str) -> str:
    from sympy import Basic, MatrixBase

    parsed_gold, parsed_answer = _parse_wrapped(gold), _parse_answer(answer)
    if not parsed_gold:
        return UNPARSED_GOLD
    if _verify(parsed_gold, parsed_answer):
        return PARTS_DIFFER if _repeats_dropped(parsed_gold[0], parsed_answer[0]) else CORRECT
    understood = any(isinstance(part, (Basic, MatrixBase)) for part in parsed_answer)
    return NOT_EQUIVALENT if understood else UNPARSED_ANSWER


def _judge_lenient(gold: str, response: str) -> str:
    """math-verify's own verdict over the whole response."""
    parsed_gold = _parse_wrapped(gold)
    if not parsed_gold:
        return UNPARSED_GOLD
    parsed = _parse(response)
    if not parsed:
        return NO_ANSWER
    return CORRECT if _verify(parsed_gold, parsed) else NOT_EQUIVALENT


_JUDGES = {"gold": _judge_gold, "strict": _judge_strict, "lenient": _judge_lenient}


def _verify(gold: list[Any], answer: list[Any]) -> bool:
    from math_verify import verify

    try:
        return verify(gold, answer, timeout_seconds=None, raise_on_error=True)
    except Exception:
        # math-verify compares every parsed form of one with every form of the other and goes on to the
        # next pair after an error: a later pair may still agree. Only without one is it an error.
        if verify(gold, answer, timeout_seconds=None, raise_on_error=False):
            return True
        raise


def _repeats_dropped(gold: Any, answer: Any) -> bool:
    """Whether a gold that lists a value twice was met by an answer that does not (2,2 against 2)."""
    parts = len(getattr(gold, "_unsorted_args", ()))
    return parts > len(getattr(gold, "args", ())) and parts != len(getattr(answer, "_unsorted_args", (0,)))


@lru_cache(maxsize=4096)
def _parse_wrapped(text: str) -> list[Any]:
    # Without dollars math-verify looks for a number only, so that \text{Evelyn} parses to nothing; between
    # them it reads a single line, and a matrix often has several.
    line = text.replace("\n", " ")
    return _parse(line if _MATH_DELIMITER.search(line) else f"${line}$")


@lru_cache(maxsize=4096)
def _parse_answer(answer: str) -> list[Any]:
    """Forms of an answer, none where it cannot be read."""
    try:
        return _parse(f"${_as_one_formula(_without_prose(answer))}$")
    except MemoryError:
        raise
    except Exception:
        return []


def _without_prose(answer: str) -> str:
    """The formula where an answer is one formula in dollars within words, else the whole answer.

    Words with a digit, a symbol, or an "or" may be other guesses: then nothing is left out.
    """
    found = _ONE_FORMULA_IN_WORDS.fullmatch(answer)
    if found is None or _OTHER_GUESS.search(found["before"] + found["after"]):
        return answer
    return found["formula"]


def _as_one_formula(answer: str) -> str:
    r"""The whole answer on one line, without delimiters and with commas for line breaks.

    Of several formulas math-verify would take the last, of several lines the first: a list of guesses
    would be judged by one of them. `\\` before a command is a doubled backslash (JSON).
    """
    depth = 0

    def replacement(token: re.Match[str]) -> str:
        nonlocal depth
        depth += {r"\beg": 1, r"\end": -1}.get(token.group()[:4], 0)
        if token.group() == "\\\\" and depth <= 0:
            return "\\" if _COMMAND.match(line, token.end()) else " , "
        return " " if token.group() in _DELIMITERS else token.group()

    line = _OUTER_BREAKS.sub("", answer.replace("\n", " "))
    return _TOKEN.sub(replacement, line).strip()


def _parse(text: str) -> list[Any]:
    from math_verify import parse

    return parse(text, parsing_timeout=None, raise_on_error=True)  # type: ignore[arg-type]


# --- verdicts by the user's own function ------------------------------------------------------------


def unpickled(verifier: str) -> Callable[[str, str], Any]:
    """The function that `pool.pickled` was given."""
    import cloudpickle

    return cloudpickle.loads(base64.b64decode(verifier))


def _own_verdict(verifier: Callable[[str, str], Any], gold: str, response: str) -> str:
    verdict = verifier(gold, response)
    if _is_truth_value(verdict):
        return Verdict.CORRECT if verdict else Verdict.WRONG
    return Verdict(verdict)


def _is_truth_value(value: Any) -> bool:
    """Whether it is a boolean, of Python, numpy or torch, or the number 0 or 1 in their integers."""
    return (isinstance(value, numbers.Integral) or hasattr(value, "dtype")) and value in (0, 1)


# --- the process ------------------------------------------------------------------------------------


def _take_stdout() -> BinaryIO:
    """Keep the reply channel for ourselves: whatever else prints goes nowhere."""
    replies = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    return replies


def _reply(replies: BinaryIO, message: dict[str, Any]) -> None:
    replies.write(json.dumps(message).encode() + b"\n")
    replies.flush()


def _cap_memory(megabytes: int) -> None:
    """Cap what the process may still allocate; beyond it Python raises MemoryError."""
    _limit(resource.RLIMIT_AS, _memory()[0] + (megabytes << 20))


def _memory() -> tuple[int, int]:
    """Bytes that are mapped, and bytes that are in memory."""
    try:
        with open("/proc/self/statm") as statm:
            mapped, resident, *_ = (int(pages) * resource.getpagesize() for pages in statm.read().split())
            return mapped, resident
    except OSError:
        # Not Linux: the cap counts from zero, and the peak stands for what is in use. On Linux the peak
        # would be the caller's, if that is larger: exec does not reset it.
        unit = 1 if sys.platform == "darwin" else 1024
        return 0, unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _cap_cpu(timeout_s: float) -> None:
    """Let the kernel end this process if it outlives a parent that would have ended it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _limit(resource.RLIMIT_CPU, math.ceil(used.ru_utime + used.ru_stime + timeout_s) + _CPU_GRACE_S)


def _limit(resource_kind: int, value: int) -> None:
    """Set a soft limit, at most the hard one, which `ulimit` or a batch system may have set."""
    _, hard = resource.getrlimit(resource_kind)
    soft = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(resource_kind, (soft, hard))


def _refuse_side_effects(event: str, arguments: tuple[Any, ...]) -> None:
    if event.startswith(_REFUSED_EVENTS) or (event == "open" and _writes(arguments)):
        raise PermissionError(f"a grading worker may not do {event}")


def _writes(arguments: tuple[Any, ...]) -> bool:
    flags = arguments[2]
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))


if __name__ == "__main__":
    main()
