"""The reward functions for TRL and verl, called as the trainers call them."""

import inspect
import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import orjson
import pytest

from opo_eval import rewards
from opo_eval.errors import InputError, UsageError
from opo_eval.grading import Grader, grade_answers
from opo_eval.records import Verdict
from opo_eval.rewards import TRLReward, VerlReward, trl_reward, verl_reward, verl_reward_batch

HOSTILE = r"\boxed{10^{10^{10}}}"


@pytest.fixture(autouse=True)
def _closed_pools() -> Iterator[None]:
    yield
    rewards._close()
    rewards._desks.clear()


@pytest.fixture(scope="module")
def cases(data_dir) -> list[dict]:
    lines = (data_dir / "grader_cases" / "grader_cases.jsonl").read_bytes().splitlines()
    rows = [orjson.loads(line) for line in lines[::6]]
    return [{"gold": row["gold"], "response": rf"so \boxed{{{row['pred']}}}"} for row in rows if row["gold"]]


def _expected(cases: list[dict]) -> list[float | None]:
    outcomes = grade_answers([c["gold"] for c in cases], [c["response"] for c in cases], lenient=False)
    unscorable = {Verdict.TIMED_OUT, Verdict.GRADER_ERROR}
    return [None if o.verdict in unscorable else float(o.verdict is Verdict.CORRECT) for o in outcomes]


def test_trl_gets_the_verdicts_of_grade_answers(cases):
    expected = _expected(cases)
    assert {0.0, 1.0} <= set(expected)
    golds, texts = [c["gold"] for c in cases], [c["response"] for c in cases]
    prompts = ["?"] * len(texts)
    assert trl_reward(prompts=prompts, completions=texts, completion_ids=[], answer=golds) == expected
    conversations = [[{"role": "assistant", "content": text}] for text in texts]
    assert TRLReward(gold="solution")(prompts, conversations, solution=golds) == expected


def test_verl_gets_the_verdicts_of_grade_answers(cases):
    expected = _expected(cases)
    golds, texts = [c["gold"] for c in cases], [c["response"] for c in cases]
    scores = verl_reward_batch(
        data_sources=["x"] * len(texts),
        solution_strs=texts,
        ground_truths=golds,
        extra_infos=[{}] * len(texts),
    )
    assert [score["score"] for score in scores] == [value or 0.0 for value in expected]
    assert [score["unscorable"] for score in scores] == [float(value is None) for value in expected]
    for case, score in zip(cases[:5], scores, strict=False):
        single = verl_reward(
            data_source="x",
            solution_str=case["response"],
            ground_truth=case["gold"],
            extra_info={"num_turns": 2},
            reward_router_address=None,
        )
        assert single == score == {**score, "acc": score["score"]}


def test_signatures_are_those_that_the_trainers_call():
    assert list(inspect.signature(verl_reward).parameters)[:4] == [
        "data_source",
        "solution_str",
        "ground_truth",
        "extra_info",
    ]
    assert list(inspect.signature(verl_reward_batch).parameters)[:4] == [
        "data_sources",
        "solution_strs",
        "ground_truths",
        "extra_infos",
    ]
    assert list(inspect.signature(trl_reward).parameters)[:2] == ["prompts", "completions"]
    assert trl_reward.__name__ == "opo_eval"
    assert not inspect.iscoroutinefunction(verl_reward)


def test_hostile_answers_cost_their_time_and_leave_the_rest_alone():
    logged: dict[str, list] = {}
    reward = TRLReward(timeout_s=0.5, workers=2)
    texts = [r"\boxed{3}", HOSTILE, r"\boxed{4}", r"\boxed{__import__('os')._exit(1)}"]
    values = reward(
        ["?"] * 4,
        texts,
        answer=["3"] * 4,
        log_extra=logged.__setitem__,
        log_metric=lambda name, value: logged.__setitem__(name, value),
    )
    assert values == [1.0, None, 0.0, 0.0]
    assert logged == {"verdict": ["correct", "timed_out", "wrong", "wrong"], "unscorable": 0.25}
    assert VerlReward(workers=1)("x", HOSTILE, "3", timeout_s=0.5) == {"score": 0, "acc": 0, "unscorable": 1}
    assert VerlReward(workers=1)("x", r"\boxed{3}", "3", timeout_s=0.5)["score"] == 1


def test_settings_reach_the_grader():
    thought = r"<think>\boxed{3}"
    assert VerlReward(workers=1)("x", thought, "3")["score"] == 0
    assert VerlReward(workers=1)("x", thought, "3", think="none")["score"] == 1
    assert VerlReward(workers=1, where="hash")("x", "so\n#### 3", "3")["score"] == 1


def test_one_pool_serves_all_calls_and_threads_are_graded_together(monkeypatch):
    batches: list[int] = []
    grade = Grader.grade

    def counted(self: Grader, items: Iterable[Any]) -> Iterator[Any]:
        items = list(items)
        batches.append(len(items))
        return grade(self, items)

    monkeypatch.setattr(Grader, "grade", counted)
    reward = VerlReward(workers=2, timeout_s=2.0)
    # The first is being graded while the others come in, and these are then one batch.
    texts = [HOSTILE, *[rf"\boxed{{{n}/7}}" for n in range(12)]]
    found: dict[int, float] = {}

    def ask(place: int) -> None:
        found[place] = reward("x", texts[place], r"\frac{3}{7}")["score"]

    threads = [threading.Thread(target=ask, args=[place]) for place in range(len(texts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [place for place, score in found.items() if score] == [4]
    assert len(found) == len(texts)
    assert sum(batches) == len(texts) and max(batches) > len(texts) / 2
    (desk,) = rewards._desks.values()
    assert len(desk.grader.pool.pids()) == 2


def test_an_error_reaches_only_the_call_that_made_it():
    reward = VerlReward(workers=1)
    failed: list[Exception] = []

    def ask() -> None:
        try:
            reward("x", r"\boxed{1}", " ")
        except InputError as error:
            failed.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert reward("x", r"\boxed{1}", "1")["score"] == 1
    for thread in threads:
        thread.join()
    assert len(failed) == 3 and "a gold is empty" in str(failed[0])


def test_a_forked_process_has_a_pool_of_its_own():
    """Also one that is forked while another thread is being graded, whose locks it inherits."""
    script = r"""
import os, signal, threading, time, warnings
from opo_eval import rewards
warnings.simplefilter("ignore", DeprecationWarning)
reward = rewards.VerlReward(workers=1, timeout_s=3.0)
def ask(n):
    return [reward("x", r"\boxed{%d/7}" % m, r"\frac{%d}{7}" % n)["score"] for m in range(5)]
def pids():
    return {pid for (process, *_), desk in rewards._desks.items()
            if process == os.getpid() for pid in desk.grader.pool.pids()}
assert ask(2) == [0, 0, 1, 0, 0]
own = pids()
assert len(own) == 1
(desk,) = rewards._desks.values()
busy = threading.Thread(target=reward, args=("x", r"\boxed{10^{10^{10}}}", "3"))
busy.start()
while not desk._grading.locked():
    time.sleep(0.001)
child = os.fork()
if not child:
    signal.alarm(60)
    ok = ask(3) == [0, 0, 0, 1, 0] and len(pids()) == 1 and not pids() & own
    rewards._close()
    os._exit(0 if ok else 1)
assert os.waitpid(child, 0)[1] == 0
busy.join()
assert ask(4) == [0, 0, 0, 0, 1]
print("fine")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=240)
    assert done.stdout == "fine\n", done.stderr


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: trl_reward(["?"], ["3"], solution=["3"]), "no column 'answer' with golds, only 'solution'"),
        (lambda: trl_reward(["?"], [7], answer=["3"]), "a completion is 7 of type int"),
        (lambda: trl_reward(["?"], ["3", "4"], answer=["3"]), "1 golds for 2 responses"),
        (lambda: trl_reward(["?"], ["3"], answer=[3]), "a gold is 3 of type int"),
        (lambda: verl_reward("x", None, "3"), "a response is None of type NoneType"),
        (lambda: verl_reward("x", "3", "3", think="sometimes"), "think cannot be 'sometimes'"),
        (lambda: verl_reward("x", "3", "3", thnik="none"), "did you mean 'think'?"),
        (lambda: VerlReward(where="nowhere")("x", "3", "3"), "no answer place 'nowhere'"),
    ],
)
def test_wrong_calls_are_one_sentence(call, said):
    with pytest.raises(UsageError) as caught:
        call()
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_the_text_of_a_conversation_is_the_assistants_last():
    messages = [
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "tool", "content": r"\boxed{1}"},
        {
            "role": "assistant",
            "content": [{"type": "text", "text": r"\boxed"}, {"type": "text", "text": "{2}"}],
        },
    ]
    assert rewards.text_of(messages) == r"\boxed{2}"
    assert rewards.text_of(messages[:2]) == rewards.text_of([]) == ""


def test_importing_loads_nothing_heavy():
    heavy = "{'torch', 'transformers', 'vllm', 'pandas', 'matplotlib', 'math_verify', 'sympy', 'verl', 'trl'}"
    script = f"import sys, opo_eval.rewards; print(sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=os.environ)
    assert done.stdout == "[]\n", done.stderr
