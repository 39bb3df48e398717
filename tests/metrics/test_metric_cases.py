"""All 47 metric cases of lighteval's own tests: pass@k, avg@k, maj@k, G-Pass@k.

A case gives texts and golds; a metric here takes counts. The mapping: a text is correct if it equals a
gold without the white space around it. Where lighteval's grader judges otherwise, its number of correct
texts is in `COUNTED_BY_LIGHTEVAL` with the reason, so that what is compared is the metric.
"""

import json
from collections import Counter

import pytest

from opo_eval.errors import UsageError
from opo_eval.metrics.gpassk import g_pass_at_k, mg_pass_at_k
from opo_eval.metrics.majority import majority_at_k
from opo_eval.metrics.passk import pass_at_k

COUNTED_BY_LIGHTEVAL = {
    "Avg at K - Multiple Correct": 1,  # of three golds only the first counts
    "G Pass At K Latex - High K Value": 5,  # n(n+1)/2 is the fraction, too
    "G Pass At K Math - Fractions": 2,  # 0.75 is 3/4
    "G Pass At K Math - Mixed Correct and Incorrect": 0,  # no expression is found in a bare x^2/2
    "G Pass At K Math - High K Value": 0,  # nor in a bare n(n+1)/2
    "Pass at K Letters - Correct Letters": 0,  # no choice is found in a bare letter
    "Pass at K Letters - Multiple Attempts": 0,
}
FIRST_ANSWER_WINS_A_TIE = {"Maj at K - No Majority": 1 / 3}
"""Three answers with one vote each: lighteval takes the first, which is right; the mean over ties is 1/3."""


@pytest.fixture(scope="module")
def cases(data_dir) -> list[dict]:
    path = data_dir / "metric_cases" / "lighteval_metric_cases.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def golds(case: dict) -> set[str]:
    index = case["doc"]["gold_index"]
    return {case["doc"]["choices"][i].strip() for i in (index if isinstance(index, list) else [index])}


def texts(case: dict, n: int | None = None) -> list[str]:
    return [text.strip() for text in case["model_response"]["text"][:n]]


def n_correct(case: dict, judged: list[str]) -> int:
    return COUNTED_BY_LIGHTEVAL.get(case["name"], sum(text in golds(case) for text in judged))


def check(case: dict, key: str, value: float) -> None:
    assert value == pytest.approx(case["expected_output"][key], abs=case["tolerance"]), case["name"]


def check_average(case: dict) -> None:
    """avg@k looks at the first k texts; it is pass@1 of them."""
    k = case["metric_params"]["k"]
    check(case, f"avg@k:k={k}", pass_at_k(k, n_correct(case, texts(case, k)), 1))


def check_pass(case: dict) -> None:
    k, n = case["metric_params"]["k"], case["metric_params"]["n"]
    check(case, f"pass@k:k={k}&n={n}", pass_at_k(n, n_correct(case, texts(case, n)), k))


def check_majority(case: dict) -> None:
    """maj@k votes among the first k texts, so all of them are drawn."""
    k = case["metric_params"]["k"]
    wrong = Counter(text for text in texts(case, k) if text not in golds(case))
    value = majority_at_k(n_correct(case, texts(case, k)), list(wrong.values()), 0, k)
    if case["name"] in FIRST_ANSWER_WINS_A_TIE:
        assert case["expected_output"] == {f"maj@k:k={k}": 1}
        assert value == pytest.approx(FIRST_ANSWER_WINS_A_TIE[case["name"]])
    else:
        check(case, f"maj@k:k={k}", value)


def check_g_pass(case: dict) -> None:
    """Six numbers a case; at k = 1 the sum behind mG-Pass is empty: 0 there, undefined here."""
    k, n = case["metric_params"]["k"], case["metric_params"]["n"]
    kind = {"g_pass_at_k": "", "g_pass_at_k_latex": "latex_", "g_pass_at_k_math": "math_"}[case["suite"]]
    c = n_correct(case, texts(case, n))
    for threshold in case["metric_params"]["thresholds"]:
        check(case, f"{kind}g-pass@{k}_{threshold}", g_pass_at_k(n, c, k, threshold))
    mean = f"m{kind}g-pass@{k}"
    assert len(case["expected_output"]) == len(case["metric_params"]["thresholds"]) + 1
    if k > 1:
        check(case, mean, mg_pass_at_k(n, c, k))
    else:
        assert case["expected_output"][mean] == 0
        with pytest.raises(UsageError):
            mg_pass_at_k(n, c, k)


CHECKS = {
    "avg_at_k": (check_average, 3),
    "avg_at_k_math": (check_average, 3),
    "pass_at_k": (check_pass, 3),
    "pass_at_k_letters": (check_pass, 3),
    "pass_at_k_math": (check_pass, 3),
    "maj_at_k": (check_majority, 4),
    "g_pass_at_k": (check_g_pass, 10),
    "g_pass_at_k_latex": (check_g_pass, 7),
    "g_pass_at_k_math": (check_g_pass, 11),
}
"""What checks the cases of each suite, and how many it has."""


@pytest.mark.parametrize("suite", CHECKS)
def test_values_of_lighteval(suite, cases):
    check_case, expected_cases = CHECKS[suite]
    of_suite = [case for case in cases if case["suite"] == suite]
    assert len(of_suite) == expected_cases
    for case in of_suite:
        check_case(case)


def test_every_case_is_accounted_for(cases):
    assert len(cases) == sum(n for _, n in CHECKS.values()) == 47
    assert {case["suite"] for case in cases} == set(CHECKS)
    exceptions = {*COUNTED_BY_LIGHTEVAL, *FIRST_ANSWER_WINS_A_TIE}
    assert exceptions <= {case["name"] for case in cases}


def test_an_exception_is_listed_only_where_the_string_match_differs(cases):
    for case in cases:
        if case["name"] in COUNTED_BY_LIGHTEVAL:
            n = case["metric_params"].get("n", case["metric_params"]["k"])
            matched = sum(text in golds(case) for text in texts(case, n))
            assert matched != COUNTED_BY_LIGHTEVAL[case["name"]], case["name"]
