"""Signatures of scorers, read back: what `opo-eval score` writes, and what it does not."""

from dataclasses import replace
from pathlib import Path

import pytest
from builders import problem, settings

from opo_eval.problems import make_prompting
from opo_eval.samplers.checkpoints import model_sha256
from opo_eval.score.options import ScoreOptions
from opo_eval.score.plan import plan
from opo_eval.scorers import OWN, scored_unlike, scored_with, scorer_in, without_policy
from opo_eval.store import RunDir, RunWriter
from opo_eval.tiny import checkpoint_path


def scorer(policy: str = "late@1a2b3c4d", reference: str = "start@5e6f7a8b", **others: object) -> str:
    parts = {"dtype": "float32", "vocab": 96, "prompt": "sampled"} | others
    spelled = "|".join(f"{name}:{value}" for name, value in parts.items())
    return f"exact|policy:{policy}|reference:{reference}|{spelled}"


def signature(of: str) -> str:
    return f"kl|n:8|scorer:[{of}]|T:0.6|top_p:1|top_k:0|max_tokens:64"


@pytest.mark.parametrize("policy", ["late@1a2b3c4d", "a|b:c]|d@1a2b3c4d", "org/model+adapter@99999999", ""])
def test_settings_come_back_whatever_the_policy_is_called(policy: str) -> None:
    of = scorer_in(signature(scorer(policy)))
    assert of == scorer(policy)
    assert scored_with(of) == {
        "policy": OWN,
        "reference": "start@5e6f7a8b",
        "dtype": "float32",
        "vocab": "96",
        "prompt": "sampled",
    }


def test_signatures_of_two_checkpoints_differ_in_the_policy_only() -> None:
    late, mid = (signature(scorer(name)) for name in ("late@1a2b3c4d", "mid|x@00000000"))
    assert late != mid and without_policy(late) == without_policy(mid)
    assert without_policy(late).startswith(
        f"kl|n:8|scorer:[exact|policy:{OWN}|reference:start@5e6f7a8b|dtype"
    )
    assert without_policy(late).endswith("|prompt:sampled]|T:0.6|top_p:1|top_k:0|max_tokens:64")
    other = signature(scorer(reference="base@77777777"))
    assert without_policy(other) != without_policy(late)


def test_a_policy_that_did_not_draw_is_kept() -> None:
    of = scorer() + "|off-policy"
    assert scored_with(of)["policy"] == "late@1a2b3c4d, off-policy"
    assert scored_with(of)["prompt"] == "sampled"
    assert without_policy(signature(of)) == signature(of)


@pytest.mark.parametrize("of", ["s", "fused|policy:a|reference:b", ""])
def test_another_form_is_left_as_it_is(of: str) -> None:
    assert scored_with(of) == {"scorer": of}
    assert without_policy(signature(of)) == signature(of)


def test_a_signature_without_a_scorer_names_none() -> None:
    assert scorer_in("pass@k|n:8|grader:[g]|T:1") is None
    assert without_policy("pass@k|n:8|grader:[g]|T:1") == "pass@k|n:8|grader:[g]|T:1"


def test_what_scorers_differ_in_is_spelled_with_whose() -> None:
    scorers = {
        "early": scorer("early@11111111"),
        "mid": scorer("mid@22222222"),
        "late": scorer("late@33333333", "base@77777777", dtype="bfloat16"),
    }
    assert scored_unlike({name: scorers[name] for name in ("early", "mid")}) == []
    assert scored_unlike(scorers) == [
        "reference start@5e6f7a8b (early, mid), base@77777777 (late)",
        "dtype float32 (early, mid), bfloat16 (late)",
    ]
    assert scored_unlike({"early": scorer(), "late": "s"})[-1] == "scorer s (late)"
    assert scored_unlike({"early": scorer(), "late": scorer() + "|off-policy"}) == [
        f"policy {OWN} (early), late@1a2b3c4d, off-policy (late)"
    ]


def test_what_the_verb_writes_is_read(tmp_path: Path) -> None:
    """The form belongs to `opo_eval.score`: should it change, this module has to follow."""
    path, problems = str(checkpoint_path("late")), (problem(1),)
    made = settings(problems, checkpoint="a|b:c]", model_sha256=model_sha256(path))
    made = replace(
        made,
        checkpoint=replace(made.checkpoint, path=path),
        prompting=make_prompting("tiny"),
    )
    with RunWriter(tmp_path / "run", made, problems):
        pass
    options = ScoreOptions(reference=str(checkpoint_path("early")), device="cpu")
    of = scored_with(plan(RunDir(tmp_path / "run"), options).job.scorer)
    assert (of["policy"], of["dtype"], of["prompt"]) == (OWN, "float32", "sampled")
    assert of["reference"].startswith("early@") and int(of["vocab"]) > 96
