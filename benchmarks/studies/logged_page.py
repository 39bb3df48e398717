"""reports/logged_entropy/README.md, of the rows of logged.csv and tokens.csv and of nothing else."""

from collections.abc import Iterator, Sequence

from opo_eval.report.grid import grid_of
from opo_eval.report.markdown import bullets, table

Row = dict[str, str]

_LIKE_FLOAT32 = ("float32, 4 micro-batches", "float32, RLOO")
"""Settings whose tokens are those of float32, token by token."""
_OF_ITS_LOGITS = "exact of the tool's hidden states and logits"


def page(logged: Sequence[Row], tokens: Sequence[Row]) -> str:
    """The whole page."""
    blocks = [
        "# Entropy and KL as verl and TRL log them",
        _introduction(logged),
        "## What to know before reading such a curve",
        bullets(list(_lessons(logged, tokens))),
        *_entropies(logged),
        *_divergences(logged),
        *_bfloat16(logged),
        *_tokens(tokens),
        *_method(),
    ]
    return "\n\n".join(blocks) + "\n"


def _introduction(logged: Sequence[Row]) -> str:
    versions = {row["tool"]: row["version"] for row in logged}
    drawn = " and ".join(
        f"{row['responses']} responses of {int(row['tokens']):,} tokens at temperature {_plain(row)}"
        for row in {row["temperature"]: row for row in logged}.values()
    )
    return (
        f"verl {versions['verl']} and TRL {versions['TRL']} were given the same responses of the tiny model "
        f"(`late`; {drawn}, 32 problems × 4) with the checkpoint `early` as the reference, scored them with "
        "their own trainers and took one step at learning rate 0. *Logged* is what then stood in their logs "
        "(for `actor/entropy`, what the line that logs it computes). *Ours* is the same definition, computed "
        "from `opo_eval.scoring.token_stats`, and *exact* the mean over tokens of the entropy or of "
        "KL(policy‖reference) over the whole vocabulary, at the temperature of the row. All in nats."
    )


# --- lessons ----------------------------------------------------------------------------------------


def _lessons(logged: Sequence[Row], tokens: Sequence[Row]) -> Iterator[str]:
    yield _reproduced(logged)
    yield _names(logged)
    yield _temperature(logged)
    yield from _kl_lessons(logged)
    yield from _bfloat16_lessons(logged, tokens)


def _reproduced(logged: Sequence[Row]) -> str:
    pairs = [(float(row["difference"]), float(row["ours"])) for row in logged]
    worst = max(abs(off / ours) for off, ours in pairs if ours)
    zero = max(abs(off) for off, ours in pairs if not ours)
    return (
        f"All {len(logged)} logged numbers are reproduced by the definitions below: to {worst:.1e} of their "
        f"size, and actor/ppo_kl, which is 0, to {zero:.1e}. What is left is rounding in float32."
    )


def _names(logged: Sequence[Row]) -> str:
    rows = [row for row in _only(logged, "float32", "entropy", "1.0") if row["logged_as"] == "actor/entropy"]
    values = sorted((row["value"] for row in rows), key=float)
    return (
        f"verl's actor/entropy follows loss_agg_mode: the same policy on the same tokens is "
        f"{_short(values[0])} to {_short(values[-1])}, where the entropy of a token is "
        f"{_short(rows[0]['exact'])}. A change of loss changes the curve."
    )


def _temperature(logged: Sequence[Row]) -> str:
    row = _only(logged, "float32", "entropy", "0.6")[0]
    return (
        "Both divide the logits by the sampling temperature first. Sampled at 0.6, the logged entropy is "
        f"{_short(row['exact'])}; at temperature 1, on the same tokens, it would be "
        f"{_short(row['exact_at_1'])}. Runs at different temperatures cannot be compared by these curves."
    )


def _kl_lessons(logged: Sequence[Row]) -> Iterator[str]:
    bounded = _kl_row(logged, "float32", "1.0", "kl_loss_type=low_var_kl")
    cold_bounded = _kl_row(logged, "float32", "0.6", "kl_loss_type=low_var_kl")
    heavy, cold = (_kl_row(logged, "float32", t, "GRPOTrainer, beta > 0") for t in ("1.0", "0.6"))
    plain = _kl_row(logged, "float32, RLOO", "1.0", "RLOOTrainer, beta > 0")
    yield (
        f"TRL logs two estimators as kl: k3 in GRPOTrainer ({_short(heavy['value'])} here) and k1 in "
        f"RLOOTrainer ({_short(plain['value'])}), where the divergence is {_short(plain['exact'])}."
    )
    yield (
        "k3 is unbiased and of little use where the reference gives some tokens far more probability than "
        f"the policy does: its standard error over these tokens is {_short(heavy['standard_error'])} at "
        f"temperature 1 and {_short(cold['standard_error'])} at 0.6, that of k1 "
        f"{_short(plain['standard_error'])}. Of 1,000 redraws of the tokens {_share(heavy)} and "
        f"{_share(cold)} give a mean below the divergence; the rest makes up for it."
    )
    yield (
        "verl cuts its k3 (low_var_kl, the default of kl_loss) at 10 a token. Its mean over all tokens that "
        f"could have been drawn is {_short(bounded['expected'])}, not {_short(bounded['exact'])}, at 0.6 "
        f"{_short(cold_bounded['expected'])}, not {_short(cold_bounded['exact'])}: more samples do not help."
    )


def _kl_row(logged: Sequence[Row], setting: str, temperature: str, options: str) -> Row:
    wanted = (setting, temperature, options)
    found = [row for row in logged if (row["setting"], row["temperature"], row["options"]) == wanted]
    return next(row for row in found if row["quantity"] == "KL")


def _bfloat16_lessons(logged: Sequence[Row], tokens: Sequence[Row]) -> Iterator[str]:
    default = _only(logged, "bfloat16", "entropy")[0]
    exact, of_logits, value = (float(default[name]) for name in ("exact", "of_its_logits", "value"))
    yield (
        f"bfloat16 takes verl's mean entropy {100 * (value / exact - 1):+.2f} % from the exact one as "
        f"installed: {100 * (of_logits / exact - 1):+.2f} % by backbone and logits, the rest by what is "
        "rounded after them (section 3). With entropy_from_logits_with_chunking, which is meant to save "
        "memory, the rest is gone."
    )
    largest = max((row["largest_from_exact"] for row in tokens if row["quantity"] == "entropy"), key=float)
    eager = next(row for row in tokens if row["setting"] == "bfloat16, not compiled")
    yield (
        f"The entropy of a single token is off by up to {_short(largest)} in bfloat16. Not compiled, "
        f"{int(eager['zero']):,} tokens have an entropy of 0, against {eager['zero_exactly']} by the exact "
        "values: a mean over tokens hardly feels that, a choice of tokens by their entropy does."
    )


# --- tables -----------------------------------------------------------------------------------------


def _entropies(logged: Sequence[Row]) -> Iterator[str]:
    yield "## 1. Entropy, in float32"
    columns = ("tool", "logged as", "with", "temperature", "what it is", "logged", "ours", "difference")
    rows = [
        (*_named(row), row["definition"], *_compared(row), _number(row["exact"]), row["why"])
        for row in _only(logged, "float32", "entropy")
    ]
    yield table(grid_of((*columns, "exact", "why it is not the exact mean"), rows))
    forms = {row["temperature"]: row["of_float32_difference"] for row in _only(logged, "float32", "entropy")}
    shown = " and ".join(f"{float(form):.1e} at {float(t):g}" for t, form in forms.items())
    yield (
        "The differences are those of log Z − Σ p x in float32, two numbers of the size of the logits whose "
        f"difference is small: that form, computed so from our own hidden states, is off by {shown} in the "
        "mean over tokens. TRL's `entropy_from_logits`, −Σ p log p, is not (section 4)."
    )


def _divergences(logged: Sequence[Row]) -> Iterator[str]:
    yield "## 2. KL to the reference, in float32"
    columns = ("tool", "logged as", "with", "temperature", "what it is", "logged", "ours", "difference")
    more = (
        "mean of the estimator",
        "standard error",
        "off by",
        "redraws below",
        "exact",
        "why it is not that",
    )
    rows = [
        (*_named(row), row["definition"], *_compared(row), *_noise(row), _number(row["exact"]), row["why"])
        for row in _only(logged, "float32", "KL")
    ]
    yield table(grid_of((*columns, *more), rows))
    yield (
        "*Mean of the estimator* and *standard error* are exact for these contexts: over all tokens that "
        "could have been drawn at each place, weighted as the tool weights. *Off by* is how far the tokens "
        "that were drawn took it from that mean, in standard errors; *redraws below* the share of 1,000 "
        "draws of other tokens in the same places that give less than the exact divergence, weighted alike."
    )


def _bfloat16(logged: Sequence[Row]) -> Iterator[str]:
    yield "## 3. In bfloat16"
    columns = ("tool", "setting", "temperature", "logged as", "rounded after the backbone", "logged", "ours")
    more = ("difference", _OF_ITS_LOGITS, "exact")
    rows = [
        (
            *_set(row),
            row["logged_as"],
            row["rounded"] + _summed(row),
            *_compared(row),
            _number(row["of_its_logits"]),
            _number(row["exact"]),
        )
        for row in _only(logged, "bfloat16", "entropy")
    ]
    yield table(grid_of((*columns, *more), rows))
    yield (
        "*Ours* starts from the hidden states that the tool's own backbone gave and rounds where the tool "
        "rounds. From *exact* to the column before it is what backbone and logits in bfloat16 cost, from "
        "there to *logged* what is rounded later."
    )
    yield from _rounded_temperature(logged)
    yield "KL in bfloat16:"
    float32 = {_key(row): row["value"] for row in _only(logged, "float32", "KL")}
    columns = ("tool", "setting", "temperature", "logged as", "with", "logged", "ours", "difference")
    rows = [
        (*_set(row), row["logged_as"], row["options"], *_compared(row), _number(float32[_key(row)]))
        for row in _only(logged, "bfloat16", "KL")
        if row["logged_as"] != "actor/ppo_kl"
    ]
    yield table(grid_of((*columns, "logged in float32"), rows))


def _rounded_temperature(logged: Sequence[Row]) -> Iterator[str]:
    for row in _only(logged, "bfloat16", "entropy", "0.6"):
        if row["at_rounded_temperature"] and row["logged_as"] == "actor/entropy":
            yield (
                "verl rounds the temperature as well: 0.6 becomes 0.6015625. On the same logits the exact "
                f"entropy is {_number(row['of_its_logits'])} at the one and "
                f"{_number(row['at_rounded_temperature'])} at the other."
            )


def _tokens(tokens: Sequence[Row]) -> Iterator[str]:
    yield "## 4. Token by token"
    columns = ("tool", "setting", "temperature", "quantity", "bit for bit", "largest difference from ours")
    more = ("largest from exact", "mean from exact", "exactly 0")
    rows = [
        (
            *_set(row),
            row["quantity"],
            f"{100 * float(row['equal']):.0f} %",
            f"{float(row['largest']):.1e}",
            f"{float(row['largest_from_exact']):.1e}",
            f"{float(row['mean_from_exact']):+.1e}",
            row["zero"],
        )
        for row in tokens
        if row["quantity"] != "ref_logprob" and row["setting"] not in _LIKE_FLOAT32
    ]
    yield table(grid_of((*columns, *more), rows))
    yield (
        "*Ours* is the exact value where all is in float32, and the same definition with the tool's "
        "roundings otherwise; what the tool does in float32 is float64 there, so that the last bit may "
        "differ, or now and then a whole step of bfloat16. `entropy_from_logits` is TRL's function for "
        "logits that exist, which its GRPO and RLOO trainers do not use. *Exactly 0*: tokens whose value was "
        "0. The reference's log-probabilities are in tokens.csv."
    )


def _method() -> Iterator[str]:
    yield "## How it was run, and what that leaves open"
    yield bullets(
        [
            "All ran on a CPU. verl was told of it as its plugins tell it of a device; its engine (FSDP2: "
            "FSDP as verl sets it up wants a GPU), packed sequences, torch.compile, padding, micro-batches "
            "and loss are its own. Ray, the rollout engine and the reward are left out, and attention is "
            "torch's. In TRL only the generation is replaced.",
            "float32 is verl with mixed_precision fp32 and TRL with bf16=False. Both take bfloat16 if "
            "nothing is said.",
            "The bfloat16 figures are a CPU's. On a GPU, by PyTorch's documentation, autocast runs softmax, "
            "log_softmax and sum in float32, which it does not on a CPU; by their code, verl takes its "
            "log-probabilities from flash-attention where that is installed, TRL uses a Triton kernel, and "
            "logits and verl's temperature are rounded there too. None of that was run. That compiled code "
            "rounds Σ p x is what torch 2.13 makes of it on a CPU.",
            "verl's Triton and Liger kernels need a GPU and were not run.",
        ]
    )
    yield (
        "Numbers: [logged.csv](logged.csv), [tokens.csv](tokens.csv). Made by "
        "`OMP_NUM_THREADS=1 python benchmarks/studies/logged_entropy.py --verl VERL/bin/python --trl "
        "TRL/bin/python`, whose head says how to make the two environments."
    )


# --- cells ------------------------------------------------------------------------------------------


def _only(logged: Sequence[Row], precision: str, quantity: str, temperature: str | None = None) -> list[Row]:
    return [
        row
        for row in logged
        if (row["precision"], row["quantity"]) == (precision, quantity)
        and temperature in (None, row["temperature"])
    ]


def _named(row: Row) -> tuple[str, ...]:
    how = row["options"] + (", fused kernel" if row["setting"].endswith("fused") else "")
    return row["tool"], row["logged_as"], how, _plain(row)


def _set(row: Row) -> tuple[str, ...]:
    return row["tool"], row["setting"], _plain(row)


def _compared(row: Row) -> tuple[str, ...]:
    return _number(row["value"]), _number(row["ours"]), f"{float(row['difference']):+.1e}"


def _noise(row: Row) -> tuple[str, ...]:
    expected, error, off = (row[name] for name in ("expected", "standard_error", "standard_errors_off"))
    return _number(expected), _short(error), f"{float(off):+.2f}", _share(row)


def _share(row: Row) -> str:
    return f"{100 * float(row['redraws_below']):.0f} %"


def _summed(row: Row) -> str:
    return "; sum and mean" if "in bfloat16" in row["definition"] else ""


def _key(row: Row) -> tuple[str, ...]:
    return row["tool"], row["temperature"], row["logged_as"], row["options"]


def _plain(row: Row) -> str:
    return f"{float(row['temperature']):g}"


def _number(text: str) -> str:
    return f"{float(text):.6g}"


def _short(text: str) -> str:
    return f"{float(text):.4g}" if float(text) < 1000 else f"{float(text):,.0f}"
