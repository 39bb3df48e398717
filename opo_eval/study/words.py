"""What a study's page says of its own set-up: the paper's settings beside these, and the limits."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from opo_eval.problems.tiny_arith import BENCHMARK
from opo_eval.rl.config import Schedule, TrainConfig
from opo_eval.rl.data import GENERATED
from opo_eval.study.settings import Study
from opo_eval.tiny import TINY_CHECKPOINTS
from opo_eval.wording import counted

_UNEQUAL = 0.1
"""Shares of clipped steps that differ by less are not worth a word."""
_PAPER = {
    "start": "DeepSeek-R1-Distill-Qwen-7B; for OPO against GRPO a model tuned further",
    "training problems": "48k of Skywork-OR1 (25k for OPO against GRPO)",
    "problems a step": "256",
    "responses a problem": "16 (8 for OPO against GRPO)",
    "response length": "8k (24k for OPO against GRPO)",
    "learning rate": "1e-6",
    "gradient clip": "not stated",
    "steps": "500",
    "loose arm": "2 updates a rollout, clip 0.2, entropy bonus 0.001",
    "sampling in training": "temperature 0.6, top-p 1",
    "reward": "1 for a correct answer, 0 otherwise",
    "evaluation": "MATH-500 with 8 responses, AIME 2024 and 2025 with 16; temperature 0.6",
    "reported": "mean over the last five checkpoints of one run",
    "training seeds": "1",
    "tokens of Self-BLEU and Rep-5": "not stated",
}


def settings_rows(study: Study, is_of_methods: bool) -> Iterator[tuple[str, str, str]]:
    """(what, in the paper, here)."""
    config, asked = study.plans[0].config, study.evaluation
    few = f"; beside it the mean over the last {asked.last}" if is_of_methods else ""
    here = {
        "start": _start(study),
        "training problems": _training_problems(config),
        "problems a step": _each(study, lambda own: str(own.problems_per_step)),
        "responses a problem": _each(study, lambda own: str(own.group_size)),
        "response length": _each(study, lambda own: str(own.max_tokens)),
        "learning rate": _each(study, lambda own: f"{own.learning_rate:g}, {own.schedule}"),
        "gradient clip": _each(
            study, lambda own: f"norm {own.gradient_clip:g}" if own.gradient_clip else "none"
        ),
        "steps": _each(study, lambda own: str(own.steps)),
        "loose arm": _loose(study),
        "sampling in training": f"temperature {config.temperature:g}, top-p 1",
        "reward": f"by {config.reward}" if config.reward else "1 for a correct answer, 0 otherwise",
        "evaluation": _evaluation(study),
        "reported": f"the last checkpoint of each run{few}",
        "training seeds": str(len(study.seeds)),
        "tokens of Self-BLEU and Rep-5": asked.tokenize,
    }
    return ((what, paper, here[what]) for what, paper in _PAPER.items())


def _each(study: Study, spell: Callable[[TrainConfig], str]) -> str:
    """What the runs have, every value once, for settings in which arms may differ."""
    return " or ".join(dict.fromkeys(spell(plan.config) for plan in study.plans))


def _training_problems(config: TrainConfig) -> str:
    n_problems = config.n_problems or (GENERATED if config.problems == BENCHMARK else "all")
    return f"{n_problems} of {config.problems}"


def _start(study: Study) -> str:
    name = study.train["model"]
    return f"the tiny model that ships with the package, {name}" if name in TINY_CHECKPOINTS else name


def _loose(study: Study) -> str:
    methods = dict.fromkeys(config.settled() for config in _loose_configs(study))
    return (
        " or ".join(
            f"{method.mini_batches} updates a rollout, clip {method.clip:g}, entropy bonus "
            f"{method.entropy_coefficient:g}"
            for method in methods
        )
        or "none"
    )


def _loose_configs(study: Study) -> list[TrainConfig]:
    """Of the runs that take several updates a rollout."""
    return [plan.config for plan in study.plans if plan.config.settled().mini_batches > 1]


def _evaluation(study: Study) -> str:
    asked = study.evaluation
    n_problems = counted(asked.problems, "problem") if asked.problems else "all problems"
    rest = "" if asked.samples == asked.samples_last else f" (pass@k from all, the rest from {asked.samples})"
    return (
        f"{n_problems} of {asked.benchmark}, none trained on, with {asked.samples_last} responses of the "
        f"last checkpoints{rest}; temperature {asked.temperature:g}"
    )


# --- limits -----------------------------------------------------------------------------------------


def clip_note(a: tuple[str, float | None], b: tuple[str, float | None]) -> str:
    """What clipping adds to the difference of two arms, (in print, share of steps clipped) each.

    Empty where that is nothing.
    """
    (name_a, share_a), (name_b, share_b) = a, b
    if share_a is None or share_b is None or abs(share_a - share_b) < _UNEQUAL:
        return ""
    return (
        f"The gradient was clipped in {100 * share_a:.0f} % of the steps of {name_a} and in "
        f"{100 * share_b:.0f} % of those of {name_b}, so the two differ in this as well: a clipped step "
        "keeps the gradient's direction and loses its length."
    )


def limits(study: Study, clipped: Mapping[str, float], is_of_methods: bool) -> Iterator[str]:
    """What the numbers do not say, a sentence or two each.

    clipped: arm in print → share of its steps whose gradient was clipped.
    """
    rates = {plan.config.learning_rate for plan in study.plans}
    one_rate = ", one learning rate for all arms" if len(rates) == 1 else ""
    yield (
        f"One model, one kind of problem ({study.plans[0].config.problems}){one_rate}: what holds here need "
        "not hold for a model that reasons at length, and what does not hold here may hold there."
    )
    yield (
        "All runs begin from one checkpoint. Another warm start of the same recipe may change what training "
        "does, and no interval here speaks of that."
    )
    yield from _limits_of_loose(study)
    if "dr_grpo" in study.arms:
        yield (
            "GRPO differs from OPO in the baseline, in the division by the standard deviation and in the "
            "weight of long responses (1/|y|) at once, as in the paper: the arms between them tell these "
            "apart."
        )
    yield from _limits_of_clip(clipped)
    if _differ_by_a_factor(study):
        yield (
            f"The advantages of {study.labels['rloo']} are those of {study.labels['dr_grpo']} times "
            "G/(G - 1), where every response can be scored, and so are its gradients. AdamW divides a "
            "gradient by the size of past ones, which takes such a factor out, and so does a clip that binds "
            "in every step: rounding alone tells the two arms apart. What lies between them shows how far "
            "that carries two runs of one seed, and is no difference of methods."
        )
    yield from _limits_of_kl(study)
    if is_of_methods:
        yield (
            f"{counted(len(study.seeds), 'training seed')} an arm: differences that they cannot tell apart "
            "may be there all the same. Runs of one seed share the order of the training problems; the tests "
            "take them for independent, which is on the safe side where they go up and down together."
        )


def _differ_by_a_factor(study: Study) -> bool:
    """Whether there are RLOO and Dr.GRPO, alike in all but the estimator, and no other term in the loss."""
    if not {"rloo", "dr_grpo"} <= set(study.arms):
        return False
    a, b = (study.plans_of(arm)[0].config for arm in ("rloo", "dr_grpo"))
    has_terms = a.settled().entropy_coefficient or a.settled().kl_coefficient
    return replace(a, method=b.method, out=b.out) == b and not has_terms


def _limits_of_clip(clipped: Mapping[str, float]) -> Iterator[str]:
    if not clipped or max(clipped.values()) - min(clipped.values()) < _UNEQUAL:
        return
    said = ", ".join(f"{label} {100 * share:.0f} %" for label, share in clipped.items())
    yield (
        f"The gradient is clipped in unequal shares of the steps ({said}): a loss that sums over a "
        "response's tokens has a longer gradient than one that takes their mean. A difference between an "
        "arm that is clipped and one that is not is also one between gradients cut to one length and "
        "gradients that weigh by their length, and this study cannot tell the two apart."
    )


def _limits_of_kl(study: Study) -> Iterator[str]:
    every = max(plan.config.kl_every for plan in study.plans)
    if every:
        yield (
            "A step measures KL to the start before its update. In the figures of KL against pass@1, and in "
            "the claims at equal pass@1 and equal KL, a run's last checkpoint has that of the policy up to "
            f"{counted(every, 'step')} before it."
        )


def _limits_of_loose(study: Study) -> Iterator[str]:
    loose = _loose_configs(study)
    if not loose:
        return
    several = len({config.steps for config in loose}) > 1
    yield (
        "Loose GRPO takes several updates a rollout: at equal rollouts it has more updates, at equal updates "
        f"it has seen fewer rollouts. {'Both are here' if several else 'Here it has equal rollouts'}. It "
        "differs from exact on-policy GRPO in mini-batches, clipping and entropy bonus at once, as in the "
        "paper."
    )
    if several and all(config.schedule is Schedule.CONSTANT for config in loose):
        yield (
            "With a constant learning rate the shorter loose arm repeats the beginning of the longer one, "
            "seed by seed: the two are not independent."
        )
