"""The strict verdict as a reward function of other trainers: TRL's and verl's.

    GRPOTrainer(..., reward_funcs=trl_reward)         # golds in the data set's column `answer`
    GRPOTrainer(..., reward_funcs=TRLReward(gold="solution", think="none"))
    reward.custom_reward_function.path=pkg://opo_eval.rewards reward.custom_reward_function.name=verl_reward

A reward is 1 where the evaluation's own grader says CORRECT and 0 where it does not.

Verdicts come from processes that can be killed, so an answer that never ends costs its time limit and no
more. All calls of a process share one pool, and each process, forked ones too, has a pool of its own.
Calls of several threads are graded as one batch: verl asks for one answer at a time, and an answer that
takes long then does not hold up the others.
"""

import atexit
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, fields, replace
from threading import Lock
from typing import Any

from opo_eval.errors import InputError, UsageError
from opo_eval.grading import Grader, Outcome
from opo_eval.records import Think, Verdict
from opo_eval.rl.rewards import UNSCORABLE
from opo_eval.wording import listed, nearest


@dataclass(frozen=True, kw_only=True)
class GradingSettings:
    """How rewards are graded: as `opo_eval.grading.grade_answers` takes it."""

    think: Think | str = Think.TAGGED
    """How a think section begins: tagged (in the response), prefilled (in the prompt) or none."""
    where: str = "boxed"
    """Place of the answer: boxed, answer-tag, hash or final-answer."""
    timeout_s: float = 5.0
    """Wall-clock limit of each verdict, in seconds."""
    workers: int | None = None
    """Grading processes at most; default: one a processor."""

    def verdicts(self, golds: Sequence[Any], responses: Sequence[Any]) -> list[Verdict]:
        """One strict verdict a response, in order.

        Raises UsageError for lists of unequal length, what is not text and unknown settings, InputError for
        an empty gold.
        """
        if len(golds) != len(responses):
            raise UsageError(f"{len(golds)} golds for {len(responses)} responses: give one gold a response")
        for gold, response in zip(golds, responses, strict=True):
            _check(gold, response)
        outcomes = _desk(self.think, self.where, self.timeout_s, self.workers).grade(golds, responses)
        return [outcome.verdict for outcome in outcomes]


def _check(gold: Any, response: Any) -> None:
    # Here, so that it fails the call that it came with and no other thread's.
    for name, value in (("gold", gold), ("response", response)):
        if not isinstance(value, str):
            raise UsageError(f"a {name} is {value!r:.80} of type {type(value).__name__}: give text (str)")
    if not gold.strip():
        raise InputError("a gold is empty: every problem needs an answer to be graded against")


# --- TRL --------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class TRLReward(GradingSettings):
    """Reward of TRL's GRPOTrainer and RLOOTrainer."""

    gold: str = "answer"
    """The data set's column with the golds."""

    @property
    def __name__(self) -> str:
        """Under which TRL logs it."""
        return "opo_eval"

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        *,
        log_extra: Callable[[str, list[Any]], None] | None = None,
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """One reward a completion, in order; None where it could not be graded.

        TRL leaves a None out of the baseline and the loss. completions: texts, or conversations, of which
        the assistant's last message is graded. Where TRL offers it, verdicts go to its table of completions
        and the share that could not be graded to its metrics.

        Raises what `verdicts` raises, and UsageError without the column of golds.
        """
        if self.gold not in columns:
            raise UsageError(
                f"the data set has no column {self.gold!r} with golds, only {listed(sorted(columns))}: "
                "rename one, or take TRLReward(gold=...)"
            )
        verdicts = self.verdicts(columns[self.gold], [text_of(completion) for completion in completions])
        if log_extra is not None:
            log_extra("verdict", [str(verdict) for verdict in verdicts])
        if log_metric is not None and verdicts:
            log_metric("unscorable", sum(verdict in UNSCORABLE for verdict in verdicts) / len(verdicts))
        return [None if verdict in UNSCORABLE else _one_if_right(verdict) for verdict in verdicts]


def text_of(completion: Any) -> str:
    """The text of a completion of TRL; of a conversation, that of the assistant's last message.

    UsageError for what is neither.
    """
    if isinstance(completion, str):
        return completion
    if not isinstance(completion, Sequence) or not all(isinstance(m, Mapping) for m in completion):
        raise UsageError(
            f"a completion is {completion!r:.80} of type {type(completion).__name__}: give text, or a list "
            "of messages with role and content"
        )
    said = [message.get("content") for message in completion if message.get("role") == "assistant"]
    return _text_of_content(said[-1]) if said else ""


def _text_of_content(content: Any) -> str:
    if isinstance(content, str):
        return content
    # A message that only calls a tool has no content.
    return "".join(part["text"] for part in content or () if part.get("type") == "text")


# --- verl -------------------------------------------------------------------------------------------

_OF_VERL = ("reward_router_address", "reward_model_tokenizer", "rollout_reward_scores")
"""What verl gives a reward function besides what it is asked about."""


@dataclass(frozen=True, kw_only=True)
class VerlReward(GradingSettings):
    """Reward of verl. Its `reward_kwargs` may be any of these settings."""

    def __call__(
        self,
        data_source: str,
        solution_str: str,
        ground_truth: str,
        extra_info: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> dict[str, float]:
        """Score of one response (reward managers `naive`, `dapo` and `limited`).

        `score` and `acc` are 1 or 0, and `unscorable` is 1 where the response could not be graded: verl's
        advantages have no place for a missing reward, so its score is 0 there. Raises what `verdicts` does.
        """
        (verdict,) = self._given(settings).verdicts([ground_truth], [solution_str])
        return _verl_score(verdict)

    def batch(
        self,
        data_sources: Sequence[str],
        solution_strs: Sequence[str],
        ground_truths: Sequence[str],
        extra_infos: Sequence[Mapping[str, Any]] | None = None,
        **settings: Any,
    ) -> list[dict[str, float]]:
        """The same of many responses at once, in order (reward manager `batch`)."""
        verdicts = self._given(settings).verdicts(ground_truths, solution_strs)
        return [_verl_score(verdict) for verdict in verdicts]

    def _given(self, settings: Mapping[str, Any]) -> "VerlReward":
        own = {name: value for name, value in settings.items() if name not in _OF_VERL}
        known = [field.name for field in fields(self)]
        for name in own:
            if name not in known:
                raise UsageError(
                    f"{name!r} is no setting of the reward{nearest(name, known)}: {listed(known)}"
                )
        return replace(self, **own)


def _verl_score(verdict: Verdict) -> dict[str, float]:
    right = _one_if_right(verdict)
    return {"score": right, "acc": right, "unscorable": float(verdict in UNSCORABLE)}


def _one_if_right(verdict: Verdict) -> float:
    return float(verdict is Verdict.CORRECT)


trl_reward = TRLReward()
verl_reward = VerlReward()
verl_reward_batch = verl_reward.batch


# --- one pool a process -----------------------------------------------------------------------------


@dataclass(eq=False)
class _Desk:
    """A grader that takes what has come in from all threads as one batch."""

    grader: Grader
    _grading: Lock = field(default_factory=Lock)
    _arriving: Lock = field(default_factory=Lock)
    _arrived: "list[tuple[str, str, Future[Outcome]]]" = field(default_factory=list)

    def grade(self, golds: Sequence[str], responses: Sequence[str]) -> list[Outcome]:
        """One outcome a response, in order."""
        mine = [(gold, text, Future()) for gold, text in zip(golds, responses, strict=True)]
        with self._arriving:
            self._arrived += mine
        with self._grading:
            # Whoever graded before may have taken these along.
            with self._arriving:
                batch, self._arrived = self._arrived, []
            self._settle(batch)
        return [future.result() for _, _, future in mine]

    def _settle(self, batch: "list[tuple[str, str, Future[Outcome]]]") -> None:
        items = ((place, gold, text) for place, (gold, text, _) in enumerate(batch))
        try:
            for place, outcome in self.grader.grade(items):
                batch[place][-1].set_result(outcome)
        except BaseException as error:  # of whatever kind: other threads wait for these
            for _, _, future in batch:
                if not future.done():
                    future.set_exception(error)


_desks: dict[tuple[Any, ...], _Desk] = {}


def _desk(think: Think | str, where: str, timeout_s: float, workers: int | None) -> _Desk:
    # By process, because a forked one would share its parent's pipes. A grader that is not used starts none.
    key = os.getpid(), think, where, timeout_s, workers
    if key not in _desks:
        grader = Grader(think=think, where=where, lenient=False, timeout_s=timeout_s, workers=workers)
        _desks.setdefault(key, _Desk(grader))
    return _desks[key]


@atexit.register
def _close() -> None:
    for (process, *_), desk in _desks.items():
        if process == os.getpid():
            desk.grader.close()
