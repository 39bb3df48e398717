"""Products of score vectors in a run directory: computed once, continued, refused where they mean nothing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from opo_eval.errors import InputError, OpoEvalError, UsageError
from opo_eval.problems import load_problems
from opo_eval.records import Checkpoint, Think
from opo_eval.rl import variance
from opo_eval.rl.gradients import PRODUCTS, exact_products
from opo_eval.rl.variance import GradientOptions, ScoreProducts, measure_products, relative_error
from opo_eval.samplers import make_sampler, sample_run
from opo_eval.samplers.checkpoints import load
from opo_eval.store import RunDir
from opo_eval.tiny import checkpoint_path

PROBLEMS = load_problems("tiny-arith")[:3]
N = 4
FILE = "gradient_products.jsonl"


def _sample(path: Path, *, n: int = N, checkpoint: str | None = None, **settings: float) -> RunDir:
    where = checkpoint or str(checkpoint_path("early"))
    settings = {"temperature": 0.8, "max_tokens": 40} | settings
    sampler = make_sampler("hf", where, template="tiny", **settings)
    who = Checkpoint(name="early", path=where)
    return sample_run(path, sampler, who, PROBLEMS, n=n, think=Think.NONE, quiet=True)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return _sample(tmp_path / "run")


def _refuse_to_compute(*_: object, **__: object) -> np.ndarray:
    raise AssertionError("products were computed again")


def test_products_are_those_of_the_drawn_tokens_after_their_prompt(run: RunDir) -> None:
    found = measure_products(run, N, quiet=True)
    assert list(found) == [problem.id for problem in PROBLEMS]
    sampler = make_sampler("hf", str(checkpoint_path("early")), template="tiny")
    model, _ = load(str(checkpoint_path("early")), "float32", "cpu")
    for group in run.groups():
        tokens = [graded.sample.token_ids for graded in group.samples]
        prompt = sampler.prompt_ids(group.problem)
        expected = exact_products(model, prompt, tokens, temperature=0.8)
        of = found[group.problem.id]
        np.testing.assert_allclose(of.matrix(), expected, rtol=1e-6)
        assert of.lengths == tuple(map(len, tokens)) and of.n == N
        assert of.gradients == "exact|temperature:0.8|dtype:float32"


def test_what_is_there_is_not_computed_again(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    first = measure_products(run, N, quiet=True)
    monkeypatch.setitem(PRODUCTS, "exact", _refuse_to_compute)
    assert measure_products(run, N, quiet=True) == first


def test_an_interrupted_call_is_continued_where_it_was(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    first = measure_products(run, N, quiet=True)
    lines = (run.path / FILE).read_bytes().splitlines(keepends=True)
    (run.path / FILE).write_bytes(b"".join(lines[:3]) + lines[3][:50])  # the last problem's line is torn
    n_computed = []
    monkeypatch.setitem(PRODUCTS, "exact", lambda *a, **k: n_computed.append(1) or exact_products(*a, **k))
    assert measure_products(run, N, quiet=True) == first
    assert len(n_computed) == 1


def test_other_numbers_of_samples_and_other_gradients_stand_beside_each_other(run: RunDir) -> None:
    all_of_them = measure_products(run, N, quiet=True)
    fewer = measure_products(run, 2, quiet=True)
    sketched = measure_products(run, N, GradientOptions(gradients="projection", dimensions=512), quiet=True)
    head = measure_products(run, N, GradientOptions(gradients="last-layer"), quiet=True)
    one = PROBLEMS[0].id
    np.testing.assert_allclose(fewer[one].matrix(), all_of_them[one].matrix()[:2, :2], rtol=1e-4)
    assert sketched[one].gradients == "projection|temperature:0.8|dtype:float32|d:512|seed:0"
    ratios = np.diagonal(sketched[one].matrix()) / np.diagonal(all_of_them[one].matrix())
    assert (np.abs(ratios - 1) < 5 * relative_error(sketched[one].gradients)).all()
    assert (np.diagonal(head[one].matrix()) < np.diagonal(all_of_them[one].matrix())).all()
    assert measure_products(run, N, quiet=True) == all_of_them


def test_what_takes_too_much_memory_is_projected(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(variance, "_EXACT_BYTES", N * 4 * 214_144)
    assert measure_products(run, N, quiet=True)[PROBLEMS[0].id].gradients.startswith("exact")
    monkeypatch.setattr(variance, "_EXACT_BYTES", N * 4 * 214_144 - 1)
    assert measure_products(run, N, quiet=True)[PROBLEMS[0].id].gradients.startswith("projection")


def test_a_matrix_comes_back_from_its_upper_triangle() -> None:
    rows = np.random.default_rng(0).normal(size=(5, 3))
    made = ScoreProducts.of("p", "exact", [1, 2, 3, 4, 5], rows @ rows.T)
    assert len(made.products) == 15
    np.testing.assert_array_equal(made.matrix(), rows @ rows.T)


def test_only_a_projection_has_an_error() -> None:
    assert relative_error("exact|temperature:1|dtype:float32") == 0
    assert relative_error("projection|temperature:1|d:800|seed:0") == pytest.approx(0.05)


# --- what is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"gradients": "fisher"}, "--gradients 'fisher' is unknown: choose one of 'auto', 'exact'"),
        ({"dimensions": 0}, "--dimensions 0 must be at least 1"),
        ({"dtype": "int8"}, "--gradient-dtype 'int8' is unknown"),
    ],
)
def test_options_out_of_range(run: RunDir, options: dict, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        measure_products(run, N, GradientOptions(**options), quiet=True)


@pytest.mark.parametrize("settings", [{"temperature": 0.0}, {"top_p": 0.9}, {"top_k": 5}])
def test_tokens_that_were_not_drawn_from_the_policy_itself(tmp_path: Path, settings: dict) -> None:
    run = _sample(tmp_path / "run", **settings)
    with pytest.raises(UsageError, match="not from the policy itself"):
        measure_products(run, N, quiet=True)


@pytest.mark.parametrize("missing", ["sampling", "prompting"])
def test_samples_that_were_made_elsewhere(run: RunDir, missing: str) -> None:
    settings = replace(run.manifest.settings, **{missing: None})
    with pytest.raises(UsageError, match="sample the checkpoint with opo_eval"):
        variance._check(settings, GradientOptions())
        variance._prompts(None, None, settings)


@pytest.mark.parametrize(
    ("gradients", "said"),
    [("projection", "memory: give --gradients last-layer, or sample"), ("last-layer", "memory: sample with")],
)
def test_memory_that_runs_out_keeps_what_is_done(
    run: RunDir, gradients: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, n_done = PRODUCTS[gradients], []

    def greedy(*arguments: object, **options: object) -> np.ndarray:
        if n_done:
            torch.empty(2**50)  # refused by the operating system as a GPU refuses
        n_done.append(1)
        return real(*arguments, **options)

    monkeypatch.setitem(PRODUCTS, gradients, greedy)
    with pytest.raises(OpoEvalError, match=f"whose longest response has .* {said} .*--max-tokens; the prob"):
        measure_products(run, N, GradientOptions(gradients=gradients), quiet=True)
    assert len((run.path / FILE).read_bytes().splitlines()) == 2


def test_samples_that_are_missing(run: RunDir) -> None:
    with pytest.raises(InputError, match=r"problem 0/0 of .* has 4 of the 5 samples: give the same `sample`"):
        measure_products(run, 5, quiet=True)


def test_a_checkpoint_that_has_changed(tmp_path: Path) -> None:
    copy = tmp_path / "checkpoint"
    copy.mkdir()
    for file in checkpoint_path("early").iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    run = _sample(tmp_path / "run", checkpoint=str(copy))
    (copy / "model.safetensors").write_bytes((checkpoint_path("late") / "model.safetensors").read_bytes())
    with pytest.raises(InputError, match="is not the checkpoint that the run was sampled from"):
        measure_products(run, N, quiet=True)


def test_samples_without_token_ids(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    (group, *_) = run.groups()
    bare = replace(group.samples[0], sample=replace(group.samples[0].sample, token_ids=None))
    group = replace(group, samples=(bare, *group.samples[1:]))
    with pytest.raises(InputError, match="sample 0 of problem 0/0 has no token ids"):
        variance._responses(group, N)
