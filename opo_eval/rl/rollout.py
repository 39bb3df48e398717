"""A rollout: which problems, their responses, what these earn, and how much each counts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from opo_eval.errors import OpoEvalError, UsageError
from opo_eval.records import Checkpoint, Episode, Finish, Problem
from opo_eval.rl.batches import Row
from opo_eval.rl.config import Aggregation
from opo_eval.rl.loss import token_weights
from opo_eval.rl.processes import Processes
from opo_eval.samplers import Generation, Request, Sampler, sample_of, sample_seed

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """P problems with G responses each, group after group."""

    problems: tuple[Problem, ...]
    generations: tuple[Generation, ...]
    """P·G, in the order of the requests."""

    @property
    def group_size(self) -> int:
        """Responses a problem."""
        return len(self.generations) // len(self.problems)

    @property
    def lengths(self) -> Floats:
        """Response tokens, [P, G]."""
        return self.by_group([generation.n_tokens for generation in self.generations])

    @property
    def truncated(self) -> float:
        """Share of responses that ran into the limit."""
        return float(np.mean([generation.finish is Finish.LENGTH for generation in self.generations]))

    def by_group(self, values: Sequence[float]) -> Floats:
        """One value a response as [P, G]."""
        return np.asarray(values, dtype=np.float64).reshape(len(self.problems), self.group_size)

    def texts(self) -> tuple[list[Problem], list[str]]:
        """Each response's problem and its text."""
        return (
            [generation.request.problem for generation in self.generations],
            [generation.text for generation in self.generations],
        )

    def episodes(self, checkpoint: Checkpoint, rewards: Floats, advantages: Floats) -> list[Episode]:
        """The responses with what they earned and how much they count."""
        return [
            Episode(
                sample=sample_of(checkpoint, generation), reward=float(reward), advantage=float(advantage)
            )
            for generation, reward, advantage in zip(
                self.generations, rewards.ravel(), advantages.ravel(), strict=True
            )
        ]


def problems_of_step(problems: Sequence[Problem], step: int, per_step: int, seed: int) -> tuple[Problem, ...]:
    """The problems of a step, counted from 1: each epoch goes through all in an order of its own.

    What is left of an epoch after its last whole step is left out of it. Depends on nothing but its
    arguments, so a resumed run goes on alike. UsageError where there are fewer problems than a step takes.
    """
    epoch, place = divmod(step - 1, steps_per_epoch(len(problems), per_step))
    order = np.random.default_rng([seed, epoch]).permutation(len(problems))
    return tuple(problems[i] for i in order[place * per_step : (place + 1) * per_step])


def steps_per_epoch(n_problems: int, per_step: int) -> int:
    """Whole steps that the problems give; UsageError where there is none."""
    if n_problems < per_step:
        raise UsageError(
            f"{n_problems} problems do not fill a step of {per_step}: give fewer as problems_per_step"
        )
    return n_problems // per_step


def roll_out(
    sampler: Sampler,
    problems: Sequence[Problem],
    *,
    group_size: int,
    seed: int,
    step: int,
    processes: Processes | None = None,
) -> Rollout:
    """Draw `group_size` responses to each problem, with seeds that no other step has.

    Of several processes each draws a share, and gets what the others drew.
    """
    base_seed = sample_seed(seed, "training step", step)
    requests = [
        Request(problem=problem, index=index, seed=sample_seed(base_seed, problem.id, index))
        for problem in problems
        for index in range(group_size)
    ]
    generations = (processes or Processes()).divide(requests, partial(_draw, sampler))
    return Rollout(problems=tuple(problems), generations=tuple(generations))


def _draw(sampler: Sampler, requests: Sequence[Request]) -> list[Generation]:
    """Generations in the order of their requests."""
    drawn = {(g.request.problem.id, g.request.index): g for g in sampler.generate(requests)}
    return [drawn[request.problem.id, request.index] for request in requests]


def rows_of(
    rollout: Rollout,
    episodes: Sequence[Episode],
    prompt_ids: Callable[[Problem], list[int]],
    mini_batches: Sequence[Sequence[int]],
    aggregation: Aggregation,
) -> list[Row]:
    """What the update learns from: unscorable responses weigh nothing in it.

    Raises OpoEvalError for a mini-batch of which no response could be scored.
    """
    prompts = {problem.id: tuple(prompt_ids(problem)) for problem in rollout.problems}
    rows = [_row(g, episode, prompts) for g, episode in zip(rollout.generations, episodes, strict=True)]
    for places in mini_batches:
        scored = [place for place in places if not np.isnan(episodes[place].reward)]
        if not scored:
            raise OpoEvalError(
                f"none of the {len(places)} responses of a mini-batch could be scored: check the reward "
                "and the golds"
            )
        weights = token_weights(np.array([len(rows[place].response) for place in scored]), aggregation)
        for place, weight in zip(scored, weights, strict=True):
            rows[place] = replace(rows[place], weight=float(weight))
    return rows


def _row(generation: Generation, episode: Episode, prompts: dict[str, tuple[int, ...]]) -> Row:
    assert generation.token_ids is not None and generation.logprobs is not None
    return Row(
        prompt=prompts[generation.request.problem.id],
        response=generation.token_ids,
        advantage=episode.advantage,
        weight=0.0,
        drawn_logprob=generation.logprobs,
    )
