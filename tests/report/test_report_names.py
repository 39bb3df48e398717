"""Names from users: one line, bounded, different from one another, and no markup once escaped."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from opo_eval.report.markdown import bullets, escape, heading, paragraph, table
from opo_eval.report.names import file_name, labels, one_line
from opo_eval.report.tables import Grid

GFM = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def test_a_name_becomes_one_line_without_control_characters() -> None:
    assert one_line("a\nb\tc\x1b[31m\u202ed\u2028e") == "a b c [31md e"
    assert one_line(" \n ") == "(no name)"


def test_a_long_name_keeps_both_ends() -> None:
    short = one_line("base_" + "x" * 200 + "_step_400", 20)
    assert len(short) == 20
    assert short.startswith("base_x") and short.endswith("_step_400") and "…" in short


def test_labels_stay_different_where_names_become_alike() -> None:
    names = ["a b", "a\nb", "x" * 100 + "y" + "z" * 100, "x" * 100 + "w" + "z" * 100, "2: a b"]
    found = labels(names)
    assert list(found) == names
    assert len(set(found.values())) == len(names)
    assert found["a b"] == "a b" and found["a\nb"] == "2: a b"


def test_file_names_are_safe_and_different() -> None:
    names = [
        "math500",
        "MATH500",
        "math_500",
        "math/500",
        "../../etc",
        "",
        ".",
        "-rf",
        "中文",
        "题目",
        "x" * 300,
    ]
    files = [file_name(name) for name in names]
    assert files[0] == "math500"
    assert len({file.lower() for file in files}) == len(names)
    assert all(re.fullmatch(r"[a-z0-9_][a-z0-9_.=+-]{0,59}", file) for file in files), files


HOSTILE = [
    "a|b<script>",
    "[x](javascript:alert(1))",
    "![x](y)",
    "`code` **bold** _em_ ~~gone~~ $x$",
    "\\| \\` <b>&amp;",
    "# title",
    "- item",
    "1. item",
    "1) item",
    "---",
    "+ plus",
    "> quote",
    "===",
    "[x]: http://e",
    "<http://e>",
    "| --- |",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_shown_as_they_stand(name: str) -> None:
    _assert_plain(name)


@given(st.text(st.sampled_from("ab1 |<>&[]()!`*_~#$\\-+.:=^\"'\n"), max_size=30))
def test_any_text_is_shown_as_it_stands(name: str) -> None:
    _assert_plain(one_line(name))


def _assert_plain(name: str) -> None:
    """A Markdown parser of others finds this text, and nothing but text, wherever we put it."""
    grid = Grid(("c", name), (("x", name), (name, "y")))
    cells = [_text(token) for token in GFM.parse(table(grid)) if token.type == "inline"]
    assert cells == ["c", name, "x", name, name, "y"]
    for text, kinds in ((bullets([name, name]), ["li", "li"]), (paragraph(name), ["p"])):
        tokens = GFM.parse(text)
        assert [_text(token) for token in tokens if token.type == "inline"] == [name] * len(kinds)
        assert {t.tag for t in tokens if t.tag} <= {"ul", "li", "p"}
    assert [_text(t) for t in GFM.parse(heading(2, f"By {name}")) if t.type == "inline"] == [f"By {name}"]


def _text(token) -> str:
    assert {child.type for child in token.children} <= {"text", "text_special"}, token.children
    return "".join(child.content for child in token.children)


def test_what_needs_no_escape_gets_none() -> None:
    for text in ("self_bleu", "61.2 [56.3, 66.1]", "-10.4 [-14.2, -6.8]", "tiny-arith", "step_400"):
        assert escape(text) == text
