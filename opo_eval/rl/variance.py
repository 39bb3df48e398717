"""Inner products of the score vectors of every problem's samples, kept in the run directory.

    gradient_products.jsonl    one line a problem, keyed by (problem_id, n, gradients)

The same call continues an interrupted one. What the products say of policy gradients is statistics, and is
computed elsewhere (`opo_eval.variance`).
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opo_eval.errors import InputError, UsageError
from opo_eval.progress import Progress
from opo_eval.records import Group, RunSettings, Sample, SamplingSettings
from opo_eval.rl.gradients import DIMENSIONS, PRODUCTS, Products, projection_error
from opo_eval.rl.memory import memory_explained
from opo_eval.samplers.checkpoints import chosen_device, load, model_sha256
from opo_eval.samplers.options import DTYPES
from opo_eval.samplers.prompts import Prompter
from opo_eval.store import Appender, RecordFile, RunDir, RunIndex
from opo_eval.wording import listed

_FILE = "gradient_products.jsonl"
_EXACT_BYTES = 2**31
"""Of all gradients of a problem together: what takes more is projected unless something else is asked for."""


@dataclass(frozen=True, kw_only=True)
class GradientOptions:
    """How gradients are taken."""

    gradients: str = "auto"
    """exact, projection or last-layer; auto: exact where a problem's gradients take 2 GiB or less together,
    projection elsewhere."""
    dimensions: int = DIMENSIONS
    """Of a projection."""
    seed: int = 0
    """Of a projection."""
    dtype: str = "float32"
    """Of the weights, whatever they were sampled in: half precision holds three digits of a gradient."""
    device: str | None = None
    """Default: a GPU where there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreProducts:
    """The inner products of the score vectors of a problem's samples 0 to n - 1."""

    problem_id: str
    n: int
    gradients: str
    """Signature: what the gradients are taken of and how."""
    lengths: tuple[int, ...]
    """Response tokens, [n]."""
    products: tuple[float, ...]
    """The upper triangle, row by row: n (n + 1) / 2."""

    @classmethod
    def of(
        cls, problem_id: str, gradients: str, lengths: Sequence[int], products: Products
    ) -> "ScoreProducts":
        """From the whole matrix, [n, n]."""
        upper = products[np.triu_indices(len(lengths))]
        return cls(
            problem_id=problem_id,
            n=len(lengths),
            gradients=gradients,
            lengths=tuple(lengths),
            products=tuple(upper.tolist()),
        )

    def matrix(self) -> NDArray[np.float64]:
        """[n, n], symmetric."""
        made = np.zeros((self.n, self.n))
        made[np.triu_indices(self.n)] = self.products
        return made + np.triu(made, 1).T


def measure_products(
    run: RunDir, n: int, options: GradientOptions | None = None, *, quiet: bool = False
) -> dict[str, ScoreProducts]:
    """Problem id → products of its samples 0 to n - 1, in the order of the benchmark.

    What the run directory holds already is not computed again. Raises UsageError for options out of range
    and for a run whose tokens were not all drawn from the policy itself, InputError where samples or their
    tokens are missing or the checkpoint has changed, EngineError where it cannot be loaded, OpoEvalError
    where memory runs out.
    """
    options = options or GradientOptions()
    sampling = _check(run.manifest.settings, options)
    index = run.index()
    _refuse_short(index, n)
    model, tokenizer = _load(run.manifest.settings, options)
    products, signature = _estimator(model, sampling, n, options)
    prompt_of = _prompts(model, tokenizer, run.manifest.settings)
    file = _product_file(run)
    with run.writer(), closing(_appender(file)) as appender:
        todo = {p.id for p in index.problems if (p.id, n, signature) not in appender.keys}
        with Progress(f"gradients of {run.path}", len(todo), unit="problems", quiet=quiet) as progress:
            for group in progress.watch(index.groups(only=todo)):
                responses = _responses(group, n)
                with _memory_explained(group, responses, signature):
                    made = products(model, prompt_of(group), responses)
                appender.append([ScoreProducts.of(group.problem.id, signature, [*map(len, responses)], made)])
    found = {row.problem_id: row for row in file if (row.n, row.gradients) == (n, signature)}
    return {problem.id: found[problem.id] for problem in index.problems}


def relative_error(gradients: str) -> float:
    """Upper bound of the relative standard error that a signature's projection adds to a squared norm."""
    parts = dict(part.split(":") for part in gradients.split("|")[1:])
    return projection_error(int(parts["d"])) if "d" in parts else 0.0


# --- what is asked for ------------------------------------------------------------------------------


def _check(settings: RunSettings, options: GradientOptions) -> SamplingSettings:
    """The run's sampling settings, if gradients can be taken under them as the options say."""
    if options.gradients not in ("auto", *PRODUCTS):
        raise UsageError(
            f"--gradients {options.gradients!r} is unknown: choose one of {listed(['auto', *PRODUCTS])}"
        )
    if options.dimensions < 1:
        raise UsageError(f"--dimensions {options.dimensions} must be at least 1: the default is {DIMENSIONS}")
    if options.dtype not in DTYPES:
        raise UsageError(f"--gradient-dtype {options.dtype!r} is unknown: choose one of {listed(DTYPES)}")
    sampling = settings.sampling
    if sampling is None:
        raise UsageError(
            "the samples were made elsewhere, and nothing says how: sample the checkpoint with opo_eval"
        )
    if sampling.temperature == 0 or sampling.top_p < 1 or sampling.top_k:
        raise UsageError(
            f"the samples were drawn at temperature {sampling.temperature:g}, top-p {sampling.top_p:g}, "
            f"top-k {sampling.top_k}, not from the policy itself: sample with a temperature above 0, "
            "--top-p 1 and --top-k 0"
        )
    return sampling


def _load(settings: RunSettings, options: GradientOptions) -> tuple[Any, Any]:
    path, sampling = settings.checkpoint.path, settings.sampling
    if path is None:
        raise InputError(
            f"the run does not say where checkpoint {settings.checkpoint.name} lies: sample it again"
        )
    if sampling is not None and model_sha256(path) != sampling.model_sha256:
        raise InputError(
            f"{path} is not the checkpoint that the run was sampled from (its files have changed): sample "
            "again into a new directory"
        )
    return load(path, options.dtype, chosen_device(options.device))


def _estimator(
    model: Any, sampling: SamplingSettings, n: int, options: GradientOptions
) -> tuple[Callable[..., Products], str]:
    """Products of (model, prompt, responses), and their signature."""
    n_bytes = n * sum(weight.numel() * weight.element_size() for weight in model.parameters())
    chosen = options.gradients
    if chosen == "auto":
        chosen = "exact" if n_bytes <= _EXACT_BYTES else "projection"
    own: dict[str, int] = {}
    words = [chosen, f"temperature:{sampling.temperature:g}", f"dtype:{options.dtype}"]
    if chosen == "projection":
        own = {"dimensions": options.dimensions, "seed": options.seed}
        words += [f"d:{options.dimensions}", f"seed:{options.seed}"]
    return partial(PRODUCTS[chosen], temperature=sampling.temperature, **own), "|".join(words)


def _memory_explained(
    group: Group, responses: Sequence[Sequence[int]], gradients: str
) -> AbstractContextManager[None]:
    fewer = "" if gradients.startswith("last-layer") else "give --gradients last-layer, or "
    return memory_explained(
        f"the gradients of problem {group.problem.source_id}, whose longest response has "
        f"{max(map(len, responses))} tokens,",
        f"{fewer}sample with a smaller --max-tokens; the problems that are done are kept",
    )


# --- prompts and responses --------------------------------------------------------------------------


def _prompts(model: Any, tokenizer: Any, settings: RunSettings) -> Callable[[Group], list[int]]:
    """Token ids of a problem's prompt, put as the sampler put it."""
    prompting = settings.prompting
    if prompting is None:
        raise UsageError(
            "the run does not say how its problems were put: sample the checkpoint with opo_eval"
        )
    prompter = Prompter(
        tokenizer,
        template=prompting.template,
        system=prompting.system,
        response_prefix=prompting.response_prefix,
        chat=prompting.chat_template_sha256 is not None,
    )
    return lambda group: prompter.ids(group.problem)


def _refuse_short(index: RunIndex, n: int) -> None:
    for problem in index.problems:
        n_there = sum(place in index.samples.get(problem.id, {}) for place in range(n))
        if n_there < n:
            raise InputError(
                f"problem {problem.source_id} of {index.run.path} has {n_there} of the {n} samples: give the "
                "same `sample` command again, which draws the others"
            )


def _responses(group: Group, n: int) -> list[tuple[int, ...]]:
    samples = (graded.sample for graded in group.samples)
    return [_tokens(group, sample) for sample in samples if sample.index < n]


def _tokens(group: Group, sample: Sample) -> tuple[int, ...]:
    if not sample.token_ids:
        raise InputError(
            f"sample {sample.index} of problem {group.problem.source_id} has no token ids, and text alone "
            "does not say which tokens were drawn: sample the checkpoint with opo_eval"
        )
    return sample.token_ids


# --- the file ---------------------------------------------------------------------------------------


def _product_file(run: RunDir) -> RecordFile:
    key: Mapping[str, type] = {"problem_id": str, "n": int, "gradients": str}
    return RecordFile(run.path / _FILE, "gradient_products", ScoreProducts, key)


def _appender(file: RecordFile) -> Appender:
    file.repair()
    return Appender(file)
