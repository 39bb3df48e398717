"""Tokens in the report, time in its manifest, and warnings before the numbers."""

from dataclasses import replace

import pytest
from report.drawn import view
from report.handmade import compared, comparison, outcomes, table

from opo_eval.records import Finish, Manifest, MetricTable, Provenance, from_dict
from opo_eval.report.document import report_markdown
from opo_eval.report.spending import time_sentence, time_spent, tokens_grid, tokens_sentence
from opo_eval.report.terminal import verdict_sentence
from opo_eval.report.truncation import truncation_warnings
from opo_eval.report.views import benchmark_views


def some_tokens(checkpoint: str, known: tuple[int | None, ...]) -> MetricTable:
    tokens = (known * 32)[:32]
    return table(checkpoint, outcomes=replace(outcomes(), tokens=tokens))


def provenance(**fields: object) -> Provenance:
    said = {"created": "now", "opo_eval": "0", "git_commit": None, "git_dirty": None, "versions": {}}
    return Provenance(**(said | {"python": "3", "platform": "p", "device": "cuda"} | fields))


def manifest(seconds: float, *n_devices: int) -> Manifest:
    history = tuple(provenance(n_devices=n) for n in n_devices)
    return Manifest(settings=None, provenance=history, wall_time_s=seconds)  # type: ignore[arg-type]


class _Run:
    def __init__(self, own: Manifest) -> None:
        self.manifest = own


def test_tokens_are_summed_and_unknown_ones_counted() -> None:
    shown = view(some_tokens("early", (10, 20)), some_tokens("late", (5, None)))
    assert tokens_grid(shown).rows == (("early", "32", "480", "0"), ("late", "32", "80", "16"))
    assert tokens_sentence([shown]) == (
        "Tokens generated: 560 in 48 samples (16 more samples are of unknown length); prompts are not "
        "counted."
    )


def test_unknown_tokens_are_not_zero() -> None:
    shown = view(some_tokens("early", (None,)))
    assert tokens_grid(shown).rows == (("early", "32", "—", "32"),)
    assert tokens_sentence([shown]) == "Tokens generated: not known of any of 32 samples."


def test_device_hours_are_wall_clock_hours_times_devices() -> None:
    spent = time_spent(manifest(5400, 4))
    assert (spent["wall_hours"], spent["device_hours"], spent["n_devices"]) == (1.5, 6.0, [4])
    assert not spent["device_hours_are_at_most"]


def test_parts_with_other_numbers_of_devices_are_bounded() -> None:
    spent = time_spent(manifest(3600, 1, 8))
    assert (spent["device_hours"], spent["device_hours_are_at_most"]) == (8.0, True)


def test_an_imported_run_has_no_time() -> None:
    runs = (_Run(manifest(0)), _Run(manifest(1800, 2)))
    said = time_sentence(compared([table()], runs=runs))
    assert said == (
        "Sampling took 0.5 wall-clock hours, 1 device hours (cuda); of 1 of 2 runs the time is not known."
    )
    assert time_sentence(compared([table()], runs=runs[:1])) is None


def test_a_manifest_from_before_devices_were_counted_is_read() -> None:
    row = {
        "created": "now", "opo_eval": "0", "git_commit": None, "git_dirty": None, "versions": {},
        "python": "3", "platform": "p", "device": "cpu",
    }  # fmt: skip
    assert from_dict(Provenance, row).n_devices == 1


# --- truncation -------------------------------------------------------------------------------------


@pytest.fixture
def shown():
    """Of the 32 samples of `outcomes`, 6 were cut and wrong; late was never cut."""
    whole = replace(outcomes(), finish=tuple(Finish.STOP for _ in range(32)))
    row = comparison("pass@1", (0.2, 0.1, 0.3), p_value=0.001, p_adjusted=0.001)
    tables = [table("e<b>|"), table("late", outcomes=whole)]
    return compared(tables, [replace(row, a="e<b>|", value_a=0.5, value_b=0.7)])


def test_warnings_say_which_and_by_how_much(shown) -> None:
    much, explained = truncation_warnings(benchmark_views(shown))
    assert "more than 5 % of the responses were cut at the token limit (e<b>| 18.8 %)." in much
    assert (
        "e<b>| at 50.0 % with 18.8 % cut (at most 68.8 %) against late at 70.0 % with 0.0 % cut" in explained
    )


def test_they_stand_before_the_numbers_and_on_the_terminal(shown) -> None:
    text = report_markdown("x", shown, benchmark_views(shown), [])
    assert text.index("Warning: on sums") < text.index("## What it comes to")
    assert "e&lt;b&gt;\\|" in text and "<b>" not in text
    said = verdict_sentence(shown).replace("\n  ", " ")
    assert said.index("This speaks of") < said.index("Warning: on sums") < said.index("sums: late is better")


def test_where_nothing_was_cut_nothing_is_said() -> None:
    whole = replace(outcomes(), finish=tuple(Finish.STOP for _ in range(32)))
    assert truncation_warnings([view(table(outcomes=whole))]) == []
