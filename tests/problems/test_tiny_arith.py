"""tiny-arith: answers against Python's own arithmetic, hold-out, and the writers of solutions."""

import re
from itertools import islice
from math import sqrt

import numpy as np
import pytest

from opo_eval.errors import UsageError
from opo_eval.problems import dataset_sha256
from opo_eval.problems.tiny_arith import (
    expression,
    generate_problems,
    training_problems,
    training_terms,
    write_solution,
)


def evaluate(text):
    """Python's value of a sum, or of the content of a box."""
    return eval(text.removeprefix(r"\boxed{").removesuffix("}"), {"__builtins__": {}})


def solutions(n, error_rate, seed=0):
    """n pairs (problem's text, solution)."""
    rng = np.random.default_rng(seed)
    return [
        (expression(terms), write_solution(terms, rng, error_rate))
        for terms in islice(training_terms(rng), n)
    ]


# --- problems ---------------------------------------------------------------------------------------


def test_answers_are_python_s():
    for problem in generate_problems(500, seed=3):
        assert problem.answer == str(evaluate(problem.prompt))


def test_prompts_are_sums_of_three_or_four_small_terms():
    for problem in generate_problems(500, seed=4):
        assert re.fullmatch(r"[1-9]\d?([+-][1-9]\d?){2,3}", problem.prompt)
        assert len(re.findall(r"\d\d", problem.prompt)) <= 2


def test_tags_follow_from_the_prompt():
    problems = generate_problems(200, seed=5)
    for problem in problems:
        numbers = re.findall(r"\d+", problem.prompt)
        subject = "two-digit" if any(len(number) == 2 for number in numbers) else "one-digit"
        assert problem.tags == {"level": str(len(numbers)), "subject": subject}
    assert len({tuple(problem.tags.values()) for problem in problems}) == 4


def test_the_benchmark_is_frozen():
    problems = generate_problems()
    assert len(problems) == 64
    assert {problem.benchmark for problem in problems} == {"tiny-arith"}
    # Another numpy may draw other numbers: then the benchmark needs a new name, not a new digest.
    assert dataset_sha256(problems) == "3731c1ae2d4ae46a3e2a9288dc204a77b7ce8f6327dd5b3c667c0184d61e9532"


def test_problems_are_distinct_and_extend():
    problems = generate_problems(3000, seed=6)
    assert len({problem.prompt for problem in problems}) == len({problem.id for problem in problems}) == 3000
    assert len({problem.source_id for problem in problems}) == 3000
    assert generate_problems(40, seed=6) == problems[:40]


def test_seeds_reproduce_and_differ():
    assert generate_problems(20, seed=1) == generate_problems(20, seed=1)
    assert generate_problems(20, seed=1) != generate_problems(20, seed=2)


@pytest.mark.parametrize("n", [0, -3])
def test_at_least_one_problem(n):
    with pytest.raises(UsageError, match=f"{n} problems cannot be drawn: ask for at least 1"):
        generate_problems(n)


def test_training_leaves_the_benchmark_out():
    # The seed of the benchmark, so that without the hold-out its 64 problems would be drawn first.
    drawn = [expression(terms) for terms in islice(training_terms(np.random.default_rng(0)), 300)]
    benchmark_and_more = [problem.prompt for problem in generate_problems(264)]
    assert list(dict.fromkeys(drawn))[:200] == benchmark_and_more[64:]


def test_training_problems_are_a_benchmark_of_their_own():
    problems = training_problems(300, np.random.default_rng(0))
    benchmark = generate_problems()
    assert len({problem.prompt for problem in problems} - {problem.prompt for problem in benchmark}) == 300
    assert {problem.benchmark for problem in problems} == {"tiny-arith-train"}
    assert problems == training_problems(300, np.random.default_rng(0))
    assert problems != training_problems(300, np.random.default_rng(1))


def test_expression_keeps_the_sign_of_the_first_term():
    assert expression((17, 5, -32)) == "17+5-32"
    assert expression((-17, 0, 5)) == "-17+0+5"


# --- solutions --------------------------------------------------------------------------------------


def test_solutions_without_errors_keep_the_value_in_every_expression():
    for prompt, solution in solutions(1000, error_rate=0.0):
        *expressions, box = solution.split("=")
        assert re.fullmatch(r"\\boxed\{-?\d+\}", box)
        assert {evaluate(text) for text in [*expressions, box]} == {evaluate(prompt)}


def test_each_step_joins_neighbours():
    for prompt, solution in solutions(1000, error_rate=0.0):
        counts = [len(re.findall(r"\d+", text)) for text in [prompt, *solution.split("=")]]
        assert counts == list(range(counts[0], 0, -1)) or counts == [counts[0], 1]


def test_every_writer_has_a_style_of_its_own():
    rng = np.random.default_rng(0)
    written = {write_solution((17, 5, -32), rng, 0.0) for _ in range(100)}
    assert written == {r"\boxed{-10}", r"22-32=\boxed{-10}", r"17-27=\boxed{-10}"}


@pytest.mark.parametrize("error_rate", [0.15, 0.6])
def test_errors_come_at_their_rate(error_rate):
    steps = [
        evaluate(before) != evaluate(after)
        for prompt, solution in solutions(3000, error_rate)
        for before, after in zip([prompt, *solution.split("=")], solution.split("="), strict=False)
    ]
    tolerance = 4 * sqrt(error_rate * (1 - error_rate) / len(steps))
    assert np.mean(steps) == pytest.approx(error_rate, abs=tolerance)


def test_a_solution_has_one_box_at_its_end():
    for _, solution in solutions(500, error_rate=1.0):
        assert solution.count(r"\boxed{") == 1 and solution.endswith("}")


def test_solutions_follow_the_generator():
    assert solutions(50, 0.15, seed=1) == solutions(50, 0.15, seed=1)
    assert solutions(50, 0.15, seed=1) != solutions(50, 0.15, seed=2)
