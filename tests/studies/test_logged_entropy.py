"""What verl and TRL logged of frozen responses, reproduced where neither is installed; and the page.

tests/oracles/logged_entropy.npz holds the responses and the tools' answers;
benchmarks/studies/logged_entropy.py makes it, in environments with the tools.
"""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from studies.scripts import study

from opo_eval.scoring import k3
from opo_eval.tabular import file_sha256

ROOT = Path(__file__).resolve().parents[2]
ORACLE = np.load(ROOT / "tests/oracles/logged_entropy.npz")


logged_entropy, rows, definitions, precision, page = map(
    study, ("logged_entropy", "logged_rows", "logged_definitions", "logged_precision", "logged_page")
)
SETTINGS = {setting.name: setting for setting in logged_entropy.SETTINGS}
IN_FLOAT32 = [name for name, setting in SETTINGS.items() if setting.precision is None]
IN_BFLOAT16 = [name for name, setting in SETTINGS.items() if setting.precision is not None]
AS_INSTALLED = "verl bfloat16, as installed at 1"
LOGGED, TOKENS = map(logged_entropy.read_csv, logged_entropy.TABLES)


@cache
def question(temperature: float) -> dict[str, Any]:
    """The prompts and responses that the tools were given."""

    def ragged(kind: str) -> list[list[int]]:
        ends = ORACLE[f"lengths of {kind} {temperature:g}"].astype(int).cumsum()[:-1]
        return [row.tolist() for row in np.split(ORACLE[f"{kind} {temperature:g}"].astype(int), ends)]

    asked = {"temperature": temperature, "width": logged_entropy.WIDTH}
    return asked | {kind: ragged(kind) for kind in ("prompts", "responses")}


@cache
def own(temperature: float) -> Any:
    return rows.own(question(temperature))


def answer(name: str) -> dict[str, Any]:
    """What a tool said in a setting."""
    return {key.removeprefix(f"{name}: "): ORACLE[key] for key in ORACLE if key.startswith(f"{name}: ")}


def logged(name: str) -> dict[str, float]:
    return json.loads(str(answer(name)["logged"]))


def layout(name: str) -> Any:
    return rows.layout_of(question(SETTINGS[name].temperature), answer(name))


def in_precision(name: str) -> tuple[Any, dict[str, torch.Tensor]]:
    """Ours and theirs of the first tokens, from the tool's hidden states."""
    theirs = {key: torch.from_numpy(answer(name)[key]).double() for key in ("entropy", "logprob")}
    hidden, temperature = torch.from_numpy(answer(name)["hidden"]), SETTINGS[name].temperature
    targets = rows.targets_of(question(temperature))[: len(hidden)]
    return SETTINGS[name].precision(hidden, rows.head_of("late"), targets, temperature), theirs


# --- what was frozen --------------------------------------------------------------------------------


@pytest.mark.parametrize("checkpoint", ["late", "early"])
def test_the_tools_scored_the_checkpoints_that_are_shipped(checkpoint: str) -> None:
    shipped = file_sha256(logged_entropy.weights_of(checkpoint))
    assert shipped == str(ORACLE[f"{checkpoint} sha256"]), "run the study again, for other checkpoints"


def test_responses_differ_in_length_and_every_setting_has_an_answer() -> None:
    for temperature in logged_entropy.TEMPERATURES:
        asked = question(temperature)
        assert len(asked["responses"]) == len(asked["prompts"]) == 128
        assert len({len(response) for response in asked["responses"]}) > 8
    for name, setting in SETTINGS.items():
        assert {entry.key for entry in setting.entries} <= set(logged(name))
        assert str(answer(name)["version"]) == {"verl": "0.9.1", "TRL": "1.16.0"}[setting.tool]


# --- float32 ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        pytest.param(name, entry, id=f"{name}: {entry.key}")
        for name in IN_FLOAT32
        for entry in SETTINGS[name].entries
    ],
)
def test_logged_numbers_are_reproduced(name: str, entry: Any) -> None:
    ours = entry.value(own(SETTINGS[name].temperature).tokens, layout(name))
    assert logged(name)[entry.key] == pytest.approx(ours, rel=2e-5, abs=1e-7)


@pytest.mark.parametrize("quantity", ["entropy", "logprob", "ref_logprob"])
@pytest.mark.parametrize("name", IN_FLOAT32)
def test_so_is_every_token(name: str, quantity: str) -> None:
    theirs = answer(name)[quantity]
    ours = getattr(own(SETTINGS[name].temperature).tokens, quantity)[: len(theirs)]
    assert len(theirs) > 90
    np.testing.assert_allclose(theirs, ours, rtol=0, atol=5e-5)


def test_the_definitions_are_told_apart() -> None:
    """What is nearly the same by name is not by value, so that no wrong definition passes."""
    tokens, name = own(1.0).tokens, "verl float32 at 1"
    cut = next(entry for entry in SETTINGS[name].entries if entry.key == "actor/kl_loss low_var_kl")
    assert logged(name)[cut.key] < 0.6 * replace(cut, estimator=k3).value(tokens, layout(name))
    values = {entry.key: entry.value(tokens, layout(name)) for entry in definitions.VERL_ENTROPIES}
    assert min(abs(a / b - 1) for i, a in values.items() for j, b in values.items() if i != j) > 0.03
    cold = logged("TRL float32 at 0.6")["entropy"]
    assert float(own(0.6).entropy_at_1.mean()) > 1.5 * cold
    batched = "TRL float32, 4 micro-batches at 1"
    assert abs(logged(batched)["entropy"] - float(tokens.entropy.mean())) > 1e-4


def test_weights_are_what_they_say() -> None:
    """By loops over three responses, two of them in one micro-batch."""
    lengths, batch, values = [1, 2, 3], [1, 0, 1], [[3.0], [1.0, 4.0], [1.0, 5.0, 9.0]]
    laid = definitions.Layout(lengths=torch.tensor(lengths), width=4, micro_batch=torch.tensor(batch))
    flat = torch.tensor([value for row in values for value in row], dtype=torch.float64)
    expected = {
        definitions.over_tokens: 23 / 6,
        definitions.summed: 23,
        definitions.summed_over_responses: 23 / 3,
        definitions.summed_by_width: 23 / 12,
        definitions.over_responses: (3 + 5 / 2 + 15 / 3) / 3,
        definitions.over_micro_batches: (18 / 4 + 5 / 2) / 2,
    }
    for weights, value in expected.items():
        assert float(weights(laid) @ flat) == pytest.approx(value, rel=1e-12), weights.__name__


@pytest.mark.parametrize("temperature", logged_entropy.TEMPERATURES)
def test_k1_and_k3_give_the_divergence_on_average_and_the_cut_k3_does_not(temperature: float) -> None:
    ours, (kl, *_, cut, _, _) = own(temperature), definitions.VERL_KLS
    for estimator in (kl, replace(kl, estimator=k3)):
        mean, variance = ours.moments(estimator)
        np.testing.assert_allclose(mean, ours.kl, rtol=1e-9, atol=1e-12)
        assert bool((variance >= 0).all())
    assert float(ours.moments(cut)[0].mean()) < 0.85 * float(ours.kl.mean())


def test_tokens_drawn_anew_scatter_as_their_standard_error_says() -> None:
    ours, kl = own(1.0), definitions.VERL_KLS[0]
    means = ours.redrawn(kl).mean(dim=0)
    row = rows.of_kl(kl, ours, layout("verl float32 at 1"))
    assert float(means.mean()) == pytest.approx(row["expected"], abs=4 * row["standard_error"] / 1000**0.5)
    assert float(means.std()) == pytest.approx(row["standard_error"], rel=0.1)


# --- bfloat16 ---------------------------------------------------------------------------------------


def test_the_default_does_not_log_the_exact_entropies_of_its_own_logits() -> None:
    """So that the roundings after the logits are what is tested below."""
    _, theirs = in_precision(AS_INSTALLED)
    hidden = torch.from_numpy(answer(AS_INSTALLED)["hidden"])
    targets = rows.targets_of(question(1.0))[: len(hidden)]
    exact = precision.bfloat16_logits(hidden, rows.head_of("late"), targets, 1.0).entropy
    assert float((theirs["entropy"] - exact).abs().max()) > 0.01


@pytest.mark.parametrize("name", IN_BFLOAT16)
def test_entropies_are_those_of_the_same_roundings(name: str) -> None:
    """But for the last bit of float32, which now and then makes a rounding to bfloat16 go the other way."""
    ours, theirs = in_precision(name)
    off = (theirs["entropy"] - ours.entropy).abs()
    assert float(off.median()) < 3e-6
    assert float((off < 3e-5).double().mean()) > 0.95
    assert bool((off <= 2**-7 * theirs["entropy"] + 3e-5).all())


@pytest.mark.parametrize("name", IN_BFLOAT16)
def test_so_are_log_probabilities(name: str) -> None:
    ours, theirs = in_precision(name)
    off = (theirs["logprob"] - ours.logprob).abs()
    assert float((off < 3e-6).double().mean()) > 0.95
    assert bool((off <= 2**-7 * theirs["logprob"].abs() + 3e-5).all())


def test_verl_divides_by_a_rounded_temperature() -> None:
    """0.6 is 0.6015625 in bfloat16; divided by 0.6 itself, the log-probabilities are others."""
    name = "verl bfloat16, as installed at 0.6"
    ours, theirs = in_precision(name)
    hidden = torch.from_numpy(answer(name)["hidden"])
    targets = rows.targets_of(question(0.6))[: len(hidden)]
    unrounded = precision.bfloat16_logits(hidden, rows.head_of("late"), targets, 0.6).logprob.bfloat16()
    wrong = (theirs["logprob"] - unrounded.double()).abs()
    assert float((theirs["logprob"] == ours.logprob).double().mean()) > 0.95
    assert float((wrong > 0).double().mean()) > 0.3


# --- the page ---------------------------------------------------------------------------------------


def test_the_page_is_made_of_the_tables() -> None:
    assert (logged_entropy.REPORT / "README.md").read_text() == page.page(LOGGED, TOKENS)


def test_the_table_has_what_was_logged() -> None:
    """Every number of every setting, as frozen; and the same from our side as computed here."""
    listed = iter(LOGGED)
    for name, setting in SETTINGS.items():
        for entry, row in zip(setting.entries, listed, strict=False):
            assert (row["tool"], row["setting"], row["logged_as"]) == (setting.tool, setting.how, entry.name)
            assert float(row["temperature"]) == setting.temperature
            assert float(row["value"]) == logged(name)[entry.key]
            exact = own(setting.temperature)
            mean = float((exact.kl if entry.is_kl else exact.tokens.entropy).mean())
            assert float(row["exact"]) == pytest.approx(mean, rel=1e-5)
    assert next(listed, None) is None


def test_no_difference_is_larger_than_rounding() -> None:
    for row in LOGGED:
        assert abs(float(row["difference"])) <= 2e-5 * abs(float(row["ours"])) + 1e-7, row
        assert float(row["value"]) - float(row["ours"]) == pytest.approx(float(row["difference"]), abs=1e-12)


def test_what_strays_from_the_exact_value_has_its_reason() -> None:
    for row in LOGGED:
        strays = abs(float(row["value"]) / float(row["exact"]) - 1) > 1e-4
        assert not strays or row["why"] != "—" or row["rounded"], row
