import hashlib

import pytest

from opo_eval.errors import UsageError
from opo_eval.problems import TEMPLATES, default_template, make_problem, make_prompting, render

BRACES = r"Let $\frac{a}{b}$, {problem}, {0}, {{x}} and %s be \boxed{?}."


def problem(text):
    return make_problem(benchmark="b", source_id="1", prompt=text, answer="1")


@pytest.mark.parametrize("name", ["plain", "boxed", "tiny", "answer-tag"])
def test_named_templates_carry_the_digest_of_their_text(name):
    prompting = TEMPLATES[name]
    assert prompting == make_prompting(name) and prompting.name == name
    assert prompting.sha256 == hashlib.sha256(prompting.template.encode()).hexdigest()
    assert (prompting.system, prompting.chat_template_sha256, prompting.response_prefix) == (None, None, "")


def test_what_a_model_sees():
    assert render(TEMPLATES["plain"], problem("2+2")) == "2+2"
    assert render(TEMPLATES["tiny"], problem("2+2")) == "2+2="
    boxed = render(TEMPLATES["boxed"], problem("What is $2+2$?"))
    assert boxed.startswith("What is $2+2$?\n\n") and boxed.endswith("\\boxed{}.") and "step by step" in boxed
    tagged = render(TEMPLATES["answer-tag"], problem("2+2"))
    assert "<think>" in tagged and "</think><answer>" in tagged and "</answer>" in tagged


@pytest.mark.parametrize("name", TEMPLATES)
def test_braces_of_a_statement_survive(name):
    before, after = TEMPLATES[name].template.split("{problem}")
    assert render(TEMPLATES[name], problem(BRACES)) == before + BRACES + after


def test_a_template_of_ones_own():
    prompting = make_prompting(
        "Q: {problem} {x}\nA:",
        system="Be brief.",
        response_prefix="<think>\n",
        chat_template="{{ messages }}",
    )
    assert prompting.name == "custom" and render(prompting, problem("2+2")) == "Q: 2+2 {x}\nA:"
    assert (prompting.system, prompting.response_prefix) == ("Be brief.", "<think>\n")
    assert prompting.chat_template_sha256 == hashlib.sha256(b"{{ messages }}").hexdigest()
    assert prompting.sha256 != make_prompting("Q: {problem}").sha256


def test_a_text_without_a_slot_is_refused_with_the_names():
    with pytest.raises(
        UsageError, match=r"'boxd' is no known name \(did you mean 'boxed'\?\) and has no \{problem\}"
    ):
        make_prompting("boxd")
    with pytest.raises(
        UsageError, match=r"give one of 'plain', 'boxed', 'tiny', 'answer-tag', or a text with \{problem\}"
    ):
        make_prompting("Solve this: {question}")


def test_default_templates():
    assert default_template("tiny-arith") == "tiny"
    assert {default_template(name) for name in ("math500", "aime24", "my-exam")} == {"boxed"}
