"""Every record that crosses a stage or touches disk, in the order in which data flows.

    Problem ──► Sample ──► Grade, TokenStats ──► GradedSample, Group ──► MetricRow, MetricTable ──► Comparison
    (Checkpoint, Prompting and SamplingSettings say what made a Sample; Manifest keeps them with a run)
    in training: Sample ──► Episode ──► TrainingStep

Records are frozen: a stage adds records and never edits those of another. Outcomes are enums, never
booleans or None. A field that is None was not known to whoever wrote the record.
"""

import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from enum import StrEnum
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

# --- outcomes ---------------------------------------------------------------------------------------


class Finish(StrEnum):
    """How generation ended."""

    STOP = "stop"
    LENGTH = "length"
    ABORTED = "aborted"


class Think(StrEnum):
    """How a think section begins: in the response, in the prompt, or not at all."""

    TAGGED = "tagged"
    PREFILLED = "prefilled"
    NONE = "none"


class Verdict(StrEnum):
    """How grading ended; independent of `Finish`. Only CORRECT counts as correct."""

    CORRECT = "correct"
    WRONG = "wrong"
    NO_ANSWER = "no_answer"
    TIMED_OUT = "timed_out"
    GRADER_ERROR = "grader_error"


def verdicts_disagree(strict: Verdict, lenient: Verdict | None) -> bool:
    """Whether only one of the two is CORRECT; a lenient verdict that nobody asked for disagrees with none."""
    return lenient is not None and (strict is Verdict.CORRECT) != (lenient is Verdict.CORRECT)


class Reason(StrEnum):
    """Why the strict verdict is what it is."""

    EQUAL_TEXT = "equal_text"
    EQUAL_INTEGER = "equal_integer"
    EQUIVALENT = "equivalent"
    DIFFERENT_INTEGER = "different_integer"
    NOT_EQUIVALENT = "not_equivalent"
    PARTS_DIFFER = "parts_differ"
    UNPARSED_ANSWER = "unparsed_answer"
    EMPTY_RESPONSE = "empty_response"
    UNCLOSED_THINK = "unclosed_think"
    NO_ANSWER_FOUND = "no_answer_found"
    EMPTY_ANSWER = "empty_answer"
    ANSWER_TOO_LONG = "answer_too_long"
    TIME_LIMIT = "time_limit"
    MEMORY_LIMIT = "memory_limit"
    WORKER_DIED = "worker_died"
    UNPARSED_GOLD = "unparsed_gold"
    COMPARISON_RAISED = "comparison_raised"
    VERIFIER_RAISED = "verifier_raised"
    OWN_VERIFIER = "own_verifier"
    SOURCE = "source"


# --- what is asked ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One problem of a benchmark."""

    id: str
    """Hash of the benchmark's name and the normalised text; see `opo_eval.problems.make_problem`."""
    source_id: str
    """The id that the benchmark's own file gives it, or its row number."""
    benchmark: str
    prompt: str
    """The statement, without a template."""
    answer: str
    tags: Mapping[str, str] = field(default_factory=dict)
    """What results are broken down by: level, subject, exam."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Who answered: carried by every later row."""

    name: str
    method: str | None = None
    train_seed: int | None = None
    step: int | None = None
    path: str | None = None
    start: str | None = None
    """What its training began from: the digest of that checkpoint, or its name on the hub."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompting:
    """How a problem became the text that a model saw."""

    name: str
    template: str
    """Text with `{problem}` where the statement goes."""
    sha256: str
    """Of the template's text."""
    system: str | None = None
    """A system message, sent where the chat template has room for one."""
    chat_template_sha256: str | None = None
    """Of the tokenizer's chat template; None where none was applied."""
    response_prefix: str = ""
    """Text put at the start of the response (`<think>` for a model that expects it)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingSettings:
    """All that decides what a sampler draws; two runs that differ here are different runs."""

    engine: str
    temperature: float
    top_p: float
    top_k: int
    """0: all tokens."""
    max_tokens: int
    base_seed: int
    dtype: str
    model_sha256: str | None = None
    """Of the checkpoint's configuration and the index of its weights."""
    adapter_sha256: str | None = None
    """The same of a LoRA adapter; None without one."""
    max_model_len: int | None = None
    """Longest prompt and response together, where it was limited below what the model takes."""
    engine_args: Mapping[str, str] = field(default_factory=dict)
    """Further arguments of the engine."""


# --- what was answered ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One response, keyed by (problem_id, index) in its run directory."""

    checkpoint: str
    problem_id: str
    index: int
    seed: int | None = None
    """None where the text was made elsewhere."""
    text: str
    token_ids: tuple[int, ...] | None = None
    finish: Finish | None = None
    """None where a foreign log does not say."""
    n_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Grade:
    """The verdicts on one sample, keyed by (problem_id, index, grader)."""

    problem_id: str
    index: int
    verdict: Verdict
    """Strict: only the answer that the response commits to counts."""
    lenient_verdict: Verdict | None = None
    """math-verify's over the whole response; None where it was not asked for."""
    extracted: str | None = None
    reason: Reason
    grader: str
    """Signature of the grader: method, versions, limits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenths:
    """Sums over each tenth of a response, in its order: [10] each, in nats.

    Token i of n, counted from 0, is in tenth floor(10 i / n), so tenths differ by at most one token and, of
    fewer than ten tokens, some have none.
    """

    n_tokens: tuple[int, ...]
    entropy: tuple[float, ...]
    logprob: tuple[float, ...]
    kl: tuple[float, ...] | None = None
    """None without a reference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forking:
    """Sums over the fifth of a response's tokens that were drawn at the highest entropy, in nats.

    These are ceil(n / 5) of n tokens; of equal entropies the earlier token counts first. Source of the share:
    S. Wang et al., "Beyond the 80/20 Rule" (arXiv 2506.01939).
    """

    n_tokens: int
    entropy_sum: float
    logprob_sum: float
    kl_sum: float | None = None
    """None without a reference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenStats:
    """What a policy, and a reference, say of the tokens of one response: sums over them, in nats.

    Keyed by (problem_id, index, scorer, temperature). Every token is scored after the prompt and the tokens
    before it; entropies and divergences are exact, over the whole vocabulary, before top-p and top-k. What
    needs a reference is None without one.
    """

    problem_id: str
    index: int
    scorer: str
    """Signature: both models with their digests, precision, size of the vocabulary."""
    reference: str | None = None
    temperature: float
    """Divides the logits of both models."""
    n_tokens: int
    entropy_sum: float
    logprob_sum: float
    """Of the tokens that were drawn, by the policy; the next four are the reference's part."""
    ref_entropy_sum: float | None = None
    ref_logprob_sum: float | None = None
    kl_sum: float | None = None
    """KL(policy‖reference)"""
    reverse_kl_sum: float | None = None
    """KL(reference‖policy), where the policy's tokens led."""
    kl_k2_sum: float | None = None
    """The estimator ½ (log p − log q)² on the drawn tokens; k1 is logprob_sum − ref_logprob_sum."""
    kl_k3_sum: float | None = None
    """The estimator q/p − 1 − log(q/p) on the drawn tokens."""
    tenths: Tenths
    forking: Forking


@dataclass(frozen=True, slots=True, kw_only=True)
class GradedSample:
    """A sample joined with its grade (None: graded by nobody yet) and what a scorer said of its tokens."""

    sample: Sample
    grade: Grade | None
    token_stats: tuple[TokenStats, ...] = ()
    """One a temperature, the lowest first; empty where nobody scored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """All samples of one problem from one checkpoint, ordered by index."""

    checkpoint: str
    problem: Problem
    samples: tuple[GradedSample, ...]


# --- what is learnt from it -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """One response in training, with what it earned and how much it counts."""

    sample: Sample
    reward: float
    """NaN where it could not be scored."""
    advantage: float
    """Reward less baseline, by the estimator in use; 0 where the reward is NaN."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingStep:
    """One rollout and what was learnt from it: a line of `training.jsonl`.

    Means a token are over all response tokens of the rollout, at the temperature that it was drawn with.
    Entropy and KL are of the policy that drew the responses, before this step's update, in nats.
    """

    step: int
    """From 1."""
    method: str
    train_seed: int
    reward: float | None
    """Mean over the scored responses; None where none could be scored."""
    pass_rate: float | None
    """Share of responses with the verdict CORRECT; None where the reward is not the grader's."""
    n_samples: int
    n_tokens: int
    """Of all responses."""
    n_unscorable: int
    groups_equal: float
    """Share of groups that teach nothing: all their rewards are equal."""
    entropy: float
    """Exact, over the whole vocabulary; mean a token."""
    kl_start: float | None
    """Exact KL(policy‖starting policy), over the whole vocabulary; mean a token. None in steps that do not
    measure it."""
    kl_start_k1: float | None
    """The estimator log π/π_start on the drawn tokens; mean a token."""
    kl_start_k3: float | None
    """The estimator π_start/π − 1 − log(π_start/π) on the drawn tokens; mean a token."""
    kl_rollout_k1: float
    """log π_engine/π on the drawn tokens: the engine that drew them against the policy that is updated."""
    kl_rollout_k3: float
    kl_update_k3: float | None
    """The rollout's policy against the one that each mini-batch finds, by k3; None with one update."""
    gradient_norm: float
    """Before clipping; mean over the step's updates."""
    clip_fraction: float | None
    """Share of tokens whose ratio the clipping holds; None without clipping."""
    loss: float
    learning_rate: float
    n_updates: int
    """Optimiser steps since the start, this one's included."""
    length: float
    """Mean response length in tokens."""
    length_correct: float | None
    """The same over correct responses; None where there are none or nobody graded."""
    length_wrong: float | None
    truncated: float
    """Share of responses that ran into the limit."""
    seconds: Mapping[str, float]
    """Wall-clock time by phase: rollout, reward, reference (the starting policy's pass), update."""


# --- what it amounts to -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A labelled interval; `kind` says which question it answers."""

    low: float
    high: float
    level: float
    kind: str


class Unit(StrEnum):
    """What a metric's value counts."""

    SHARE = "share"
    """0 to 1; shown in percent."""
    PERCENT = "percent"
    """0 to 100."""
    RATIO = "ratio"
    """How many times as much one quantity is as another."""
    NATS = "nats"
    LOG_RATIO = "log_ratio"
    """Nats, of either sign."""
    TOKENS = "tokens"
    CHARACTERS = "characters"


class Better(StrEnum):
    """Which direction is an improvement."""

    HIGHER = "higher"
    LOWER = "lower"
    NEITHER = "neither"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRow:
    """One number with all that is needed to compare it."""

    checkpoint: str
    benchmark: str
    subset: str
    """`all`, or a tag and its value: `level=3`."""
    metric: str
    family: str
    """The entry of `METRICS` that gives it: `pass@k` for every `pass@3`."""
    value: float
    interval: Interval | None
    """Over problems like these; None with fewer than two problems, or where all problems are alike."""
    interval_these: Interval | None = None
    """Over new samples of these problems; None where the metric does not give it, as pass@n cannot."""
    band: Interval | None = None
    """For pass@k and pass^k, over problems like these: holds for all k of the curve at once. None for other
    metrics, with fewer than ten problems, or where all problems are alike."""
    unit: Unit
    better: Better
    n_problems: int
    """Problems on which the metric is defined."""
    n_samples: int
    """Of all problems, those left out too."""
    n_problems_left_out: int
    """Problems on which it is undefined."""
    n_samples_left_out: int
    """Samples on which it is undefined."""
    signature: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemStatistics:
    """The pairs behind a metric, one a problem, in the order of the table's `problem_ids`.

    A value is Σ numerators / Σ denominators; both are 0 on a problem where the metric is undefined.
    """

    metric: str
    numerators: tuple[float, ...]
    denominators: tuple[float, ...]
    spreads: tuple[tuple[float, float, float, float], ...] | None = None
    """How the pair varies with new samples: variance of the numerator, its covariance with the
    denominator, variance of the denominator, and the degrees of freedom of these estimates; None where the
    metric does not give them."""
    n_samples: tuple[int, ...]
    """Of each problem, those left out too."""
    n_samples_left_out: tuple[int, ...]
    """Samples on which it is undefined."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleOutcomes:
    """What every sample came to, without its text: one entry a sample in each field."""

    problem: tuple[int, ...]
    """Place in the table's `problem_ids`."""
    index: tuple[int, ...]
    verdict: tuple[Verdict | None, ...]
    """Strict; None where nobody graded."""
    finish: tuple[Finish | None, ...]
    """How each response ended; None where a foreign log does not say."""
    characters: tuple[int, ...]
    tokens: tuple[int | None, ...]
    """Length of each response in tokens; None where nobody counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricTable:
    """Rows, and the per-problem statistics that intervals and paired tests are computed from."""

    checkpoint: str
    benchmark: str
    n: int
    """Samples a problem that are compared: the smallest number that any problem has."""
    problem_ids: tuple[str, ...]
    cluster: str | None = None
    """The tag by which intervals draw problems together; None: each problem is drawn alone."""
    clusters: tuple[str, ...] | None = None
    """The value of that tag for each problem; None without a tag."""
    rows: tuple[MetricRow, ...]
    statistics: tuple[ProblemStatistics, ...]
    outcomes: SampleOutcomes
    counts: Mapping[str, int]
    """Problems, samples, every verdict, disagreements of strict and lenient, and the like."""
    definitions: Mapping[str, str] = field(default_factory=dict)
    """Family → what its numbers are, in plain sentences."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """`b` minus `a` on the problems that both have: two checkpoints, or two arms of several seeds each."""

    benchmark: str
    metric: str
    a: str
    b: str
    value_a: float
    value_b: float
    delta: float
    interval: Interval | None
    """Over problems like these; of arms, over training seeds and problems like these. None with fewer than
    two problems, or where nothing varies."""
    interval_these: Interval | None = None
    """Over new samples of these problems; None where the metric does not give it, for arms, and for a mean
    over steps."""
    band: Interval | None = None
    """For pass@k and pass^k, over problems like these: holds for all k of the curve at once. None for other
    metrics, with fewer than ten problems, where nothing varies, for arms, and for a mean over steps."""
    p_value: float | None = None
    """Two-sided, of no difference; None with fewer than two problems, or where arms differ and neither seeds
    nor problems vary."""
    p_adjusted: float | None = None
    """By Holm over the family of the comparison; None for a metric outside it."""
    mde80: float | None = None
    """The true difference that a test at 5 % would find with 80 % power; None where nothing varies, with too
    few problems for any difference to be found, and for a mean over steps."""
    problems_needed: int | None = None
    """How many problems like these would tell a true difference of this size, with 80 % power; None where no
    number would, for arms, and for a mean over steps."""
    unit: Unit
    better: Better
    n_problems: int
    """Problems that both have and on which both define the metric."""
    n_train_seeds: int = 1
    """Of the arm that has fewer; 1 where two checkpoints are compared."""
    signature: str


REPORT_SCHEMA = "opo_eval.report/1"
"""Version of a report's metrics.json; `opo-eval export --schema report` describes it."""


# --- how it was made --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """What a run directory holds; a continued run must agree in every field."""

    checkpoint: Checkpoint
    benchmark: str
    dataset_sha256: str
    think: Think
    prompting: Prompting | None = None
    """None where the text was made elsewhere and the prompt is not known."""
    sampling: SamplingSettings | None = None
    """None where the text was made elsewhere."""
    source: str | None = None
    """Name and sha256 of the file that was imported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where and with what code; it may differ between the parts of one run."""

    created: str
    opo_eval: str
    git_commit: str | None
    git_dirty: bool | None
    versions: Mapping[str, str]
    python: str
    platform: str
    device: str
    n_devices: int = 1
    """That worked at once, such as the GPUs of a tensor-parallel engine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """`manifest.json` of a run directory."""

    settings: RunSettings
    provenance: tuple[Provenance, ...]
    """One entry for every process that wrote with other code, versions or device than the last."""
    n_target: int | None = None
    """Samples a problem that were asked for; a larger number continues the run."""
    wall_time_s: float = 0.0
    """Spent in sampling, all processes together."""


# --- from JSON back to records ----------------------------------------------------------------------


def from_dict(cls: type, data: Mapping[str, Any]) -> Any:
    """Build a record from decoded JSON; the inverse of serialising its fields.

    Raises ValueError for a field that is missing, unknown or of the wrong kind, naming it.
    """
    converters = _converters(cls)
    unknown = data.keys() - converters.keys()
    if unknown:
        raise ValueError(f"{cls.__name__} has no field {sorted(unknown)[0]!r}")
    try:
        return cls(**{name: converters[name](value) for name, value in data.items()})
    except TypeError as error:
        raise ValueError(f"{cls.__name__}: {error}") from None


@cache
def _converters(cls: type) -> dict[str, Callable[[Any], Any]]:
    hints = get_type_hints(cls)
    return {f.name: _converter(f"{cls.__name__}.{f.name}", hints[f.name]) for f in fields(cls)}


def _converter(name: str, hint: Any) -> Callable[[Any], Any]:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        inner = _converter(name, next(a for a in arguments if a is not type(None)))
        return lambda value: None if value is None else inner(value)
    if origin is tuple:
        return _tuple_converter(name, arguments[0])
    if origin is not None:
        return lambda value: dict(_expect(name, dict, value))
    if isinstance(hint, type) and is_dataclass(hint):
        return lambda value: from_dict(hint, _expect(name, dict, value))
    if issubclass(hint, StrEnum):
        return hint
    if hint is float:
        return lambda value: float(_expect(name, (int, float), value))
    return lambda value: _expect(name, hint, value)


def _tuple_converter(name: str, kind: Any) -> Callable[[Any], Any]:
    element = _converter(name, kind)

    def convert(value: Any) -> tuple[Any, ...]:
        # A response has tens of thousands of token ids: one look at all their types spares one at each.
        if set(map(type, _expect(name, list, value))) == {kind}:
            return tuple(value)
        return tuple(map(element, value))

    return convert


def _expect(name: str, kind: Any, value: Any) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"{name} cannot be {value!r:.80}")
    return value
