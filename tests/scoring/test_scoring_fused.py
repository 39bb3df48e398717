"""The fused kernel in Triton's interpreter and compiled for a Hopper GPU, and when it is used."""

import os
import subprocess
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scoring.watching import some
from torch import Tensor

from opo_eval.scoring import OutputHead, fused, token_stats

TEMPERATURES = (0.3, 0.6, 1.0, 2.0)
FIELDS = ("logprob", "entropy", "ref_logprob", "ref_entropy", "kl", "reverse_kl")


def in_child(script: str, *arguments: object, **environment: str) -> str:
    """Output of a process of its own: importing Triton settles whether it compiles or interprets."""
    if find_spec("triton") is None:
        message = "no triton: install it (pip install triton) to test the fused kernel"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(message)
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


# --- the definitions, in extended precision ---------------------------------------------------------


def log_softmax(x: Tensor, temperature: float) -> np.ndarray:
    wide = x.double().numpy().astype(np.longdouble) / temperature
    wide = wide - wide.max(axis=-1, keepdims=True)
    return wide - np.log(np.exp(wide).sum(axis=-1, keepdims=True))


def expected_term(log_p: np.ndarray, log_ratio: np.ndarray) -> np.ndarray:
    """Σ p · log_ratio over what has a probability."""
    p = np.exp(log_p)
    return np.where(p > 0, p * np.where(p > 0, log_ratio, 0), 0).sum(axis=-1)


def by_definition(logits: list[Tensor], targets: Tensor, temperature: float) -> dict[str, np.ndarray]:
    rows, found = np.arange(len(targets)), {}
    logs = [log_softmax(x, temperature) for x in logits]
    for prefix, log_p in zip(("", "ref_"), logs, strict=False):
        found[f"{prefix}logprob"] = log_p[rows, targets.numpy()]
        found[f"{prefix}entropy"] = -expected_term(log_p, log_p)
    if len(logs) == 2:
        with np.errstate(invalid="ignore"):
            found["kl"] = expected_term(logs[0], logs[0] - logs[1])
            found["reverse_kl"] = expected_term(logs[1], logs[1] - logs[0])
    return {name: x.astype(float) for name, x in found.items()}


# --- models with given logits -----------------------------------------------------------------------


def model_of(logits: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """float16 hidden states [T, width] and weight [V, width] of which the products are in sum the logits."""
    n_tokens, rest, parts = len(logits), logits.double(), []
    for factor in (1.0, 2.0**11, 2.0**22):
        parts.append((rest * factor).half())
        rest = rest - parts[-1].double() / factor
    assert not rest.any()
    hidden, weight = torch.zeros(n_tokens, width).half(), torch.zeros(logits.shape[1], width).half()
    hidden[:, : 3 * n_tokens] = torch.cat([torch.eye(n_tokens) / f for f in (1, 2**11, 2**22)], dim=1).half()
    weight[:, : 3 * n_tokens] = torch.cat(parts).T
    return hidden, weight


def float32(x: Tensor) -> Tensor:
    return ((x * 2**20).round() / 2**20).float()


def pairs(kind: str, n_vocab: int) -> tuple[Tensor, Tensor]:
    """Logits of policy and reference, [rows, V] each, of one kind."""
    x, noise = some(3, n_vocab, seed=len(kind)), some(3, n_vocab, seed=7)
    if kind.startswith("size"):
        return x * float(kind[4:]), noise * float(kind[4:])
    if kind.startswith("distance"):
        return 3 * x, 3 * x + float(kind[8:]) * noise
    uniform, sure, one = torch.zeros(1, n_vocab), torch.zeros(1, n_vocab), torch.zeros(1, n_vocab)
    sure[0, 5], one[0, 9] = 40.0, 3.0
    few, steps = torch.zeros(3, n_vocab), torch.tensor([[0.1], [0.7], [2.0]])
    few[:, ::64] = steps  # so that the largest of a tile tells nothing about the others
    return {
        "identical": (30 * x, 30 * x),
        "uniform": (uniform, uniform),
        "sure": (sure, sure),
        "sure of uniform": (sure, uniform),
        "uniform of sure": (uniform, sure),
        "ties": ((2 * x).round(), (2 * x + noise).round()),
        "shifted": (x, x + 1000 + steps * noise / 10),
        "one moved": (x, x + one),
        "few moved": (few * 0, few),
    }[kind]


SIZES = ["size0.01", "size1", "size30", "size1e4"]
DISTANCES = ["distance0.001", "distance0.01", "distance0.1", "distance1", "distance6"]
SURE = ["identical", "uniform", "sure", "sure of uniform", "uniform of sure"]
KINDS = [*SIZES, *DISTANCES, *SURE, "ties", "shifted", "one moved", "few moved"]


def all_kinds(n_vocab: int) -> tuple[list[Tensor], dict[str, list[int]]]:
    """Logits of every kind, [T, V] of both models, and the rows of each kind."""
    of_kind = [pairs(kind, n_vocab) for kind in KINDS]
    ends = np.cumsum([len(x) for x, _ in of_kind])
    rows = {
        kind: list(range(end - len(x), end)) for kind, (x, _), end in zip(KINDS, of_kind, ends, strict=True)
    }
    return [float32(torch.cat(side)) for side in zip(*of_kind, strict=True)], rows


# --- what the interpreter is asked for --------------------------------------------------------------


def case(sides: list[tuple[Tensor, Tensor]], targets: Tensor, **more: Any) -> dict[str, Any]:
    defaults = {"temperatures": [1.0], "head": {}, "blocks": (16, 32, 32), "sums_bytes": fused.SUMS_BYTES}
    return defaults | {"sides": sides, "targets": targets} | more


def some_targets(n_tokens: int, n_vocab: int) -> Tensor:
    return torch.randint(n_vocab, (n_tokens,), generator=torch.Generator().manual_seed(1))


LOGITS, ROWS = all_kinds(203)
TARGETS = some_targets(len(LOGITS[0]), 203)
WIDTHS = (144, 168)  # of which the block, 32, divides neither


def masked_case(policy: bool, reference: bool, targets: Tensor) -> dict[str, Any]:
    """−inf for a whole tile of the vocabulary and some more."""
    sides = []
    for seed, is_masked in ((1, policy), (3, reference)):
        hidden, weight = dense(5, 16, seed), dense(100, 16, seed + 1)
        hidden[:, -1], weight[:, -1] = 1, 0
        weight[30:70, -1] = -torch.inf if is_masked else 0
        sides.append((hidden, weight))
    return case(sides, targets, temperatures=TEMPERATURES)


def dense(n: int, width: int, seed: int) -> Tensor:
    """Multiples of ⅛ up to 4: float32 holds the sum of products of any of them."""
    return some(n, width, seed=seed).mul(8).round().div(8).clamp(-4, 4).half()


def broken(value: float, rows: slice) -> dict[str, Any]:
    hidden, weight = dense(3, 8, 0).abs() + 1, dense(40, 8, 1)
    weight[rows, 0] = value
    return case([(hidden, weight)], torch.arange(3))


DENSE = [(dense(21, 40, 1), dense(90, 40, 2)), (dense(21, 24, 3), dense(90, 24, 4))]
CASES = {
    "kinds": case(
        [model_of(x, width) for x, width in zip(LOGITS, WIDTHS, strict=True)],
        TARGETS,
        temperatures=TEMPERATURES,
        blocks=(32, 64, 32),
    ),
    "one model": case([model_of(LOGITS[0], 144)], TARGETS, temperatures=TEMPERATURES, blocks=(32, 128, 32)),
    "padded and scaled": case(DENSE, some_targets(21, 77), head={"vocab_size": 77, "scale": 0.3}),
    "in parts": case(DENSE, some_targets(21, 90), sums_bytes=1),
    "reference masked": masked_case(False, True, torch.arange(5)),
    "policy masked": masked_case(True, False, torch.arange(30, 35)),
    "both masked": masked_case(True, True, torch.arange(5)),
    "NaN": broken(torch.nan, slice(7, 8)),
    "+inf": broken(torch.inf, slice(39, 40)),
    "only -inf": broken(-torch.inf, slice(None)),
    "too large": broken(6e4, slice(3, 4)) | {"temperatures": [1.0, 0.01]},
}

CHILD = """
import sys
import torch
from opo_eval.errors import InputError
from opo_eval.scoring import OutputHead, fused

def answer(case):
    fused.SUMS_BYTES = case["sums_bytes"]
    sides = [(hidden, OutputHead(weight, **case["head"])) for hidden, weight in case["sides"]]
    try:
        return fused.statistics(sides, case["targets"], case["temperatures"], fused.Blocks(*case["blocks"]))
    except InputError as error:
        return str(error)

answers = {name: answer(case) for name, case in torch.load(sys.argv[1]).items()}
fused.SUMS_BYTES = 2**28
answers["small case"] = [fused._wrong_fields(torch.device("cpu"), torch.float16, n) for n in (1, 2)]
torch.save(answers, sys.argv[2])
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Of `statistics` to every case; the kernels run in the interpreter."""
    folder = tmp_path_factory.mktemp("fused")
    torch.save(CASES, folder / "cases")
    in_child(CHILD, folder / "cases", folder / "answers", TRITON_INTERPRET="1")
    return torch.load(folder / "answers")


def logits_of(case: dict[str, Any]) -> list[Tensor]:
    head = {"vocab_size": None, "scale": 1.0} | case["head"]
    return [
        (hidden.double() @ weight.double().T)[:, : head["vocab_size"]] * head["scale"]
        for hidden, weight in case["sides"]
    ]


def assert_as_defined(
    found: dict[str, Tensor], expected: dict[str, np.ndarray], rows: Any = slice(None), **tolerance: float
) -> None:
    tolerance = {"rtol": 1e-6, "atol": 1e-8} | tolerance
    assert found.keys() == expected.keys()
    for name, x in found.items():
        assert x.dtype == torch.float64
        np.testing.assert_allclose(x.numpy()[rows], expected[name][rows], **tolerance, err_msg=name)


# --- against the definitions ------------------------------------------------------------------------


@pytest.mark.parametrize("i", range(len(TEMPERATURES)), ids=map(str, TEMPERATURES))
@pytest.mark.parametrize("kind", KINDS)
def test_two_models_have_the_defined_statistics(answers: dict[str, Any], kind: str, i: int) -> None:
    expected = by_definition(LOGITS, TARGETS, TEMPERATURES[i])
    assert_as_defined(answers["kinds"][i], expected, ROWS[kind])


@pytest.mark.parametrize("i", range(len(TEMPERATURES)), ids=map(str, TEMPERATURES))
def test_one_model_has_the_defined_statistics(answers: dict[str, Any], i: int) -> None:
    expected = by_definition(LOGITS[:1], TARGETS, TEMPERATURES[i])
    assert_as_defined(answers["one model"][i], expected)


def test_a_divergence_loses_a_share_of_itself_only(answers: dict[str, Any]) -> None:
    rows = [row for kind in DISTANCES for row in ROWS[kind]]
    expected = by_definition(LOGITS, TARGETS, 1.0)
    assert expected["kl"][rows].min() < 1e-6 and expected["kl"][rows].max() > 10
    for name in ("kl", "reverse_kl"):
        np.testing.assert_allclose(
            answers["kinds"][2][name][rows], expected[name][rows], rtol=1e-6, atol=0, err_msg=name
        )


def test_identical_models_are_nowhere_apart(answers: dict[str, Any]) -> None:
    for found in answers["kinds"]:
        for name in ("kl", "reverse_kl"):
            assert found[name].min() == 0  # so none is negative
            assert not found[name][ROWS["identical"] + ROWS["uniform"] + ROWS["sure"]].any()


def test_uniform_and_sure_distributions_have_their_entropies(answers: dict[str, Any]) -> None:
    at_1 = answers["kinds"][2]["entropy"]
    np.testing.assert_allclose(at_1[ROWS["uniform"]], np.log(203), rtol=1e-7)
    others = 202 * np.exp(-40.0)
    np.testing.assert_allclose(at_1[ROWS["sure"]], others * 41, rtol=1e-6)  # 1e-15, of which no digit is lost


@pytest.mark.parametrize("name", ["padded and scaled", "in parts"])
def test_products_heads_and_launches(answers: dict[str, Any], name: str) -> None:
    expected = by_definition(logits_of(CASES[name]), CASES[name]["targets"], 1.0)
    assert_as_defined(answers[name][0], expected)


@pytest.mark.parametrize("name", ["reference masked", "policy masked", "both masked"])
def test_masked_tokens_have_no_probability(answers: dict[str, Any], name: str) -> None:
    for found, temperature in zip(answers[name], TEMPERATURES, strict=True):
        expected = by_definition(logits_of(CASES[name]), CASES[name]["targets"], temperature)
        assert_as_defined(found, expected)
        is_infinite = [bool(found[field].isinf().all()) for field in ("kl", "reverse_kl")]
        assert is_infinite == [name == "reference masked", name == "policy masked"]


@pytest.mark.parametrize("name", ["NaN", "+inf", "only -inf"])
def test_what_is_no_distribution_is_refused(answers: dict[str, Any], name: str) -> None:
    assert answers[name].startswith("the logits of a token hold NaN or +inf, or nothing but -inf")


def test_logits_beyond_float32_powers_are_refused(answers: dict[str, Any]) -> None:
    assert (
        "is beyond the 27725.9 that the fused kernel can sum at the lowest temperature"
        in answers["too large"]
    )


# --- compiled ---------------------------------------------------------------------------------------

COMPILE = """
import re, subprocess, sys
from triton import compile, knobs
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from opo_eval.scoring import fused
from opo_eval.scoring.fused_kernel import sum_tiles

n_models, folder = int(sys.argv[1]), sys.argv[2]
blocks = fused.BLOCKS[n_models]
types = dict.fromkeys(sum_tiles.arg_names, "i32")
types |= dict.fromkeys(["tops", "chosen", "centres", "sums"], "*fp32")
types |= {"targets": "*i64", "rates": "*fp64", "excluded": "*i8"}
constants = {"HAS_REFERENCE": n_models == 2}
constants |= {"BLOCK_T": blocks.tokens, "BLOCK_V": blocks.vocab, "BLOCK_H": blocks.width}
for prefix in ("", "ref_"):
    types[prefix + "hidden"] = f"tensordesc<bf16[{blocks.tokens},{blocks.width}]>"
    types[prefix + "weight"] = f"tensordesc<bf16[{blocks.vocab},{blocks.width}]>"
if n_models == 1:
    constants |= {"ref_hidden": None, "ref_weight": None}
options = {"num_warps": blocks.warps, "num_stages": blocks.stages, "enable_fp_fusion": True}
source = ASTSource(sum_tiles, types | dict.fromkeys(constants, "constexpr"), constants)
built = compile(source, target=GPUTarget("cuda", 90, 32), options=options)
with open(folder + "/cubin", "wb") as file:
    file.write(built.asm["cubin"])
usage = subprocess.run(
    [knobs.nvidia.cuobjdump.path, "-res-usage", folder + "/cubin"], capture_output=True, text=True, check=True
)
stack = re.search("STACK:([0-9]+)", usage.stdout)[1]
print(built.metadata.shared, stack, built.asm["ptx"].count("wgmma.mma_async"))
"""


@pytest.mark.parametrize("n_models", [1, 2])
def test_it_compiles_for_hopper_and_fits(n_models: int, tmp_path: Path) -> None:
    output = in_child(
        COMPILE, n_models, tmp_path, TRITON_CACHE_DIR=str(tmp_path / "cache"), TRITON_INTERPRET="0"
    )
    shared, stack, n_products = map(int, output.split())
    assert shared <= 227 * 1024  # bytes that a block may have on compute capability 9.0
    assert stack <= 512  # bytes of a thread that registers do not hold; 64 logits of each model are 512
    assert n_products > 0  # on the tensor cores, the way that Hopper has


@pytest.mark.parametrize("n_vocab", [151_936, 262_144])
@pytest.mark.parametrize("n_temperatures", [1, 2, 5])
@pytest.mark.parametrize("n_models", [1, 2])
def test_sums_stay_within_their_memory(n_vocab: int, n_temperatures: int, n_models: int) -> None:
    side = torch.empty(16384, 8, device="meta"), OutputHead(torch.empty(n_vocab, 8, device="meta"))
    blocks = fused.BLOCKS[n_models]
    n_tokens = fused._tokens_at_once([side] * n_models, n_temperatures, blocks)
    n_tiles = -(-n_vocab // blocks.vocab)
    tops, sums, centres = n_models, n_temperatures * n_models * 2 * n_models, n_temperatures
    assert 4 * n_tokens * n_tiles * (tops + sums + centres) <= fused.SUMS_BYTES < 2**30 / 2
    assert n_tokens % blocks.tokens == 0 and n_tokens > 0


# --- when it is used --------------------------------------------------------------------------------


def plain(width: int = 16, dtype: torch.dtype = torch.bfloat16, **head: Any) -> tuple[Tensor, OutputHead]:
    return some(6, width, dtype=dtype), OutputHead(some(20, width, seed=1, dtype=dtype), **head)


def test_nothing_is_taken_on_a_cpu() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not fused.is_usable([plain()])


@pytest.fixture
def on_hopper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "_runs_on", lambda device: True)
    monkeypatch.setattr(fused, "_is_right_on", lambda device, dtype: True)


@pytest.mark.usefixtures("on_hopper")
@pytest.mark.parametrize(
    "sides",
    [
        [plain()],
        [plain(dtype=torch.float16, scale=0.5, vocab_size=11)],
        [plain(), plain(width=24)],
        [(plain(32)[0][:, 8:24], plain()[1])],
    ],
    ids=["bfloat16", "float16, scaled, padded", "two models", "strided"],
)
def test_plain_heads_in_half_precision_are_taken(sides: list[Any]) -> None:
    assert fused.is_usable(sides)


@pytest.mark.usefixtures("on_hopper")
@pytest.mark.parametrize(
    "sides",
    [
        [plain(dtype=torch.float32)],
        [(plain()[0], plain(dtype=torch.float16)[1])],
        [plain(bias=torch.zeros(20))],
        [plain(softcap=30.0)],
        [plain(scale=-1.0)],
        [plain(), plain(scale=0.5)],
        [plain(width=12)],
        [(plain(32)[0][:, 1:17], plain()[1])],
        [(some(16, 6, dtype=torch.bfloat16).T, plain()[1])],
        [(plain()[0][:0], plain()[1])],
        [plain(), (plain()[0].to("meta"), plain()[1])],
    ],
    ids=[
        "float32",
        "mixed",
        "bias",
        "soft-cap",
        "negative scale",
        "two scales",
        "rows of 24 bytes",
        "not aligned",
        "columns",
        "no tokens",
        "two devices",
    ],
)
def test_the_rest_is_left_to_others(sides: list[Any]) -> None:
    assert not fused.is_usable(sides)


@pytest.mark.parametrize("capability", [(8, 0), (8, 9), (9, 0), (10, 0)])
def test_it_runs_on_hopper_and_newer(capability: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(fused, "find_spec", lambda name: name)
    assert fused._runs_on(torch.device("cuda")) == (capability >= (9, 0))
    monkeypatch.setattr(fused, "find_spec", lambda name: None)
    assert not fused._runs_on(torch.device("cuda"))


# --- the check on the device ------------------------------------------------------------------------


def test_the_kernel_passes_its_check(answers: dict[str, Any]) -> None:
    assert answers["small case"] == [[], []]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_checked_logits_are_the_same_in_any_order_of_summation(dtype: torch.dtype) -> None:
    sides, _ = fused._small_case(dtype, 2)
    for hidden, head in sides:
        assert fused._is_taken(hidden, head)
        exact = hidden.double() @ head.weight.double().T
        reverse = hidden.float().flip(1) @ head.weight.float().flip(1).T
        assert torch.equal(exact, reverse.double())
        assert not torch.equal(exact, exact.to(torch.bfloat16).double())


def by_torch(sides: list[Any], targets: Tensor, temperatures: tuple[float, ...]) -> list[dict[str, Tensor]]:
    named = dict(zip(("ref_hidden", "ref_head"), sides[1], strict=True)) if len(sides) == 2 else {}
    found = [token_stats(*sides[0], targets, temperature=t, **named) for t in temperatures]
    return [
        {name: x for name in FIELDS if (x := getattr(statistics, name)) is not None} for statistics in found
    ]


def off(field: str, factor: float) -> Any:
    def statistics(*arguments: Any) -> list[dict[str, Tensor]]:
        found = by_torch(*arguments)
        return [{name: x * factor if name == field else x for name, x in one.items()} for one in found]

    return statistics


def failing(*_: Any) -> list[dict[str, Tensor]]:
    raise RuntimeError("out of resource: shared memory\nand a long log")


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The check of a stand-in for the kernel, which has not been made before."""

    def checked(statistics: Any) -> bool:
        monkeypatch.setattr(fused, "statistics", statistics)
        return fused._is_right_on(torch.device("cpu"), torch.bfloat16)

    fused._is_right_on.cache_clear()
    yield checked
    fused._is_right_on.cache_clear()


def test_a_right_kernel_is_used_without_a_word(check: Any) -> None:
    assert check(by_torch)


@pytest.mark.parametrize(
    ("statistics", "reason"),
    [
        (off("kl", 1 + 3e-6), "its kl differ from float64 sums"),
        (off("entropy", 1 - 3e-6), "its entropy differ from float64 sums"),
        (off("ref_logprob", torch.nan), "its ref_logprob differ from float64 sums"),
        (failing, "it fails with RuntimeError: out of resource: shared memory"),
    ],
    ids=["kl", "entropy", "NaN", "failing"],
)
def test_a_wrong_kernel_is_not_used_and_named_once(check: Any, statistics: Any, reason: str) -> None:
    sentence = f"the fused kernel is not used on cpu, where {reason}; scoring goes on without it"
    with pytest.warns(RuntimeWarning) as seen:
        assert not check(statistics)
    assert [str(one.message) for one in seen] == [sentence]
    assert not check(statistics)  # a second warning would be an error
