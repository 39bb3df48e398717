"""Entropy and KL in a report: the section, the terminal, and what is said where something is not scored."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from builders import grade, problem, sample, settings, token_stats
from report.drawn import view
from report.handmade import (
    SCORER,
    compared,
    interval,
    row,
    scored_table,
    statistics,
    table,
    token_values,
)

from opo_eval.compare import ComparedRuns, compare_runs
from opo_eval.measure import measure_run
from opo_eval.metrics import METRICS
from opo_eval.records import Verdict
from opo_eval.report import terminal_table, write_report
from opo_eval.report.counts import left_out, reservations
from opo_eval.report.data import metrics_csv
from opo_eval.report.definitions import definitions_markdown
from opo_eval.report.document import report_markdown
from opo_eval.report.grid import Grid
from opo_eval.report.intervals import interval_sentences
from opo_eval.report.signatures import signatures_of
from opo_eval.report.tables import metric_grids
from opo_eval.report.token_metrics import (
    TokenMetric,
    is_of_a_part,
    shared_temperature,
    temperatures,
    token_metric,
)
from opo_eval.report.token_statistics import token_grid, token_sentences
from opo_eval.report.views import benchmark_views, family, shown_metrics
from opo_eval.store import RunDir, RunWriter

BOTH = token_values(0.4, 0.03, temperature="0.6") | token_values()
WHOLES = ["entropy", "kl", "log_perplexity", "reverse_kl"]
BF16 = SCORER.replace("float32", "bfloat16")


def column(grid: Grid, name: str) -> list[str]:
    place = grid.columns.index(name)
    return [cells[place] for cells in grid.rows]


# --- names ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("entropy", ("entropy", "", "1")),
        ("kl_correct_t0.6", ("kl", "correct", "0.6")),
        ("kl_k3", ("kl_k3", "", "1")),
        ("kl_k1_t1e-05", ("kl_k1", "", "1e-05")),
        ("reverse_kl_t2", ("reverse_kl", "", "2")),
        ("log_perplexity_tenth_10_t0.6", ("log_perplexity", "tenth_10", "0.6")),
    ],
)
def test_names_come_apart_and_together(name: str, parts: tuple[str, ...]) -> None:
    assert token_metric(name) == parts
    assert TokenMetric(*parts).name == name


@pytest.mark.parametrize(
    "name", ["answer_entropy", "tokens", "kl_k4", "entropy_t", "entropy_other", "pass@1"]
)
def test_other_names_are_not_taken_for_token_statistics(name: str) -> None:
    assert token_metric(name) is None


def test_the_metrics_have_the_names_that_reports_know(tmp_path: Path) -> None:
    table = measure_run(_run(tmp_path, "early", [4] * 12))
    given = {row.metric for row in table.rows if METRICS[row.family].needs_scores}
    assert given == {*token_values(), *token_values(temperature="0.6")}
    assert {TokenMetric(*token_metric(name)).name for name in given} == given
    assert not any(token_metric(row.metric) for row in table.rows if row.metric not in given)


def test_the_temperature_is_one_that_most_have() -> None:
    cold, warm = token_values(temperature="0.6"), token_values()
    assert temperatures(scored_table(values=BOTH)) == ["0.6", "1"]
    assert shared_temperature([scored_table(values=BOTH)], "kl") == "1"
    assert shared_temperature([scored_table(values=v) for v in (cold, cold, warm)], "kl") == "0.6"
    assert shared_temperature([scored_table(values=v) for v in (cold, warm)], "entropy") == "1"
    assert shared_temperature([scored_table(values=token_values(kl=None))], "kl") is None
    assert shared_temperature([table()], "entropy") is None


# --- which numbers stand where ----------------------------------------------------------------------


def test_parts_and_estimates_are_left_to_the_section_and_the_files() -> None:
    scored = scored_table(values=BOTH)
    shown = [name for name in shown_metrics([scored]) if name != "pass@1"]
    assert sorted(shown) == sorted([*WHOLES, *(f"{name}_t0.6" for name in WHOLES)])
    (grid,) = metric_grids(view(scored))
    assert (
        dict(zip(column(grid, "metric"), column(grid, "early"), strict=True))["kl"]
        == "0.0200 [0.0180, 0.0220]"
    )
    written = {
        cells["metric"]: cells for cells in csv.DictReader(io.StringIO(metrics_csv([view(scored)]).decode()))
    }
    assert written.keys() == {"pass@1", *BOTH}
    assert float(written["kl_tenth_7_t0.6"]["value"]) == pytest.approx(7 * 0.03)
    assert written["kl_k1"]["unit"] == "log_ratio" and float(written["kl_k1"]["low"]) == pytest.approx(
        0.9 * 0.018
    )


def test_a_family_is_one_name_for_all_temperatures() -> None:
    assert [family(name) for name in ("kl_t0.6", "kl", "kl_correct_t0.6", "kl_k1_t2")] == [
        "kl", "kl", "kl_correct", "kl_k1",
    ]  # fmt: skip


# --- the section ------------------------------------------------------------------------------------


def test_one_row_a_temperature_and_checkpoint_with_every_column() -> None:
    early, late = scored_table("early", BOTH), scored_table("late", token_values(0.25, 0.0004))
    grid = token_grid(view(early, late))
    assert grid.columns == (
        "temperature", "checkpoint", "scored", "entropy", "of correct", "of wrong", "at forking tokens",
        "KL to the reference", "reverse KL", "k1", "k2", "k3", "perplexity",
    )  # fmt: skip
    assert [cells[:3] for cells in grid.rows] == [
        ("1", "early", "32 of 32"),
        ("1", "late", "32 of 32"),
        ("0.6", "early", "32 of 32"),
    ]
    assert grid.rows[0][3:] == (
        "0.500 [0.450, 0.550]", "0.500 [0.450, 0.550]", "1.00 [0.90, 1.10]", "1.50 [1.35, 1.65]",
        "0.0200 [0.0180, 0.0220]", "0.0400 [0.0360, 0.0440]", "0.0180 [0.0162, 0.0198]",
        "0.0600 [0.0540, 0.0660]", "0.0220 [0.0198, 0.0242]", "1.649 [1.568, 1.733]",
    )  # fmt: skip
    assert column(grid, "KL to the reference")[1] == "0.000400 [0.000360, 0.000440]"


def test_perplexity_is_exp_of_the_mean_and_of_its_bounds() -> None:
    values = {"log_perplexity": (0.3, 0.2, 0.5), "entropy": (0.1,)}
    (shown,) = column(token_grid(view(scored_table(values=values))), "perplexity")
    assert shown == f"{math.exp(0.3):.2f} [{math.exp(0.2):.2f}, {math.exp(0.5):.2f}]"
    huge = {"log_perplexity": (801.25, 790.5, 812.0)}
    assert column(token_grid(view(scored_table(values=huge))), "perplexity") == ["exp(801 [790, 812])"]
    sure = {"log_perplexity": (0.0004, 0.0003, 0.0005)}
    assert column(token_grid(view(scored_table(values=sure))), "perplexity") == ["1.00040 [1.00030, 1.00050]"]


def test_without_a_reference_there_are_no_columns_of_it() -> None:
    scorer = SCORER.replace("start@22222222", "none")
    alone = view(scored_table(values=token_values(kl=None), scorer=scorer))
    assert token_grid(alone).columns == (
        "temperature", "checkpoint", "scored", "entropy", "of correct", "of wrong", "at forking tokens",
        "perplexity",
    )  # fmt: skip
    said = list(token_sentences(alone))
    assert (
        said[-1] == "Scored with no reference, float32, a vocabulary of 96 tokens. All 32 samples are scored."
    )
    assert not any("k1" in sentence for sentence in said)


def test_a_checkpoint_without_scores_has_no_numbers_and_never_a_0() -> None:
    found = view(scored_table("early", n_scored=16), table("late", {"pass@1": (0.5,)}))
    grid = token_grid(found)
    assert grid.rows[1] == ("—", "late", "0 of 32", *("—",) * 10)
    assert list(token_sentences(found))[-1] == (
        "Scored with reference start@22222222, float32, a vocabulary of 96 tokens. Not every sample is "
        "scored, and the numbers are of those that are: early 16 of 32, late 0 of 32."
    )


def test_no_correct_response_is_undefined_and_not_0() -> None:
    values = {name: bounds for name, bounds in token_values().items() if not name.endswith("_correct")}
    silent = statistics("entropy_correct", 0.0, numerators=(0.0,) * 4, denominators=(0.0,) * 4)
    made = scored_table(values=values)
    found = scored_table(values=values, statistics=(*made.statistics, silent))
    assert column(token_grid(view(found)), "of correct") == ["undefined"]


def test_the_sentences_say_reference_temperature_and_what_frameworks_log() -> None:
    means, estimates, scored = token_sentences(view(scored_table(values=BOTH)))
    assert means.endswith("at 1 they are as the models give them, and the responses were drawn at 1.")
    assert "k1 (verl's kl), k2 (verl's mse), k3 (verl's low_var_kl and TRL's kl)" in estimates
    assert scored == (
        "Scored with reference start@22222222, float32, a vocabulary of 96 tokens. All 32 samples are scored."
    )


def test_unlike_scorers_are_spelled_with_whose() -> None:
    tables = [scored_table("early"), scored_table("mid"), scored_table("late", scorer=BF16 + "|off-policy")]
    assert list(token_sentences(view(*tables)))[-1] == (
        "Scored with reference start@22222222, float32, a vocabulary of 96 tokens (early, mid); reference "
        "start@22222222, bfloat16, a vocabulary of 96 tokens, policy early@11111111, off-policy (late). All "
        "96 samples are scored."
    )


def test_a_prompt_that_was_said_and_a_scorer_of_another_form_are_named() -> None:
    said = scored_table(scorer=SCORER.replace("sampled", "mine@33333333"))
    assert "96 tokens, prompt mine@33333333. All" in list(token_sentences(view(said)))[-1]
    odd = scored_table(scorer="s\n" * 400)
    (*_, last) = token_sentences(view(odd))
    assert last.startswith("Scored with s s s") and len(last) < 120


# --- signatures -------------------------------------------------------------------------------------


def test_each_checkpoint_s_own_policy_is_no_other_measurement() -> None:
    found = view(scored_table("early"), scored_table("late"))
    assert reservations(found) == []
    ((signature, whose),) = signatures_of([found], "kl").items()
    assert "policy:its own|reference:start@22222222" in signature
    assert whose == [("sums", "early"), ("sums", "late")]
    (alone,) = signatures_of([view(scored_table("early"))], "kl")
    assert "policy:early@11111111" in alone


def test_another_reference_is_another_measurement_of_the_wholes() -> None:
    other = scored_table("late", scorer=SCORER.replace("start@22222222", "base@44444444"))
    (said,) = reservations(view(scored_table("early"), other))
    names = said.split(":")[0].split(", ")
    assert names == ["entropy", "kl", "log_perplexity", "reverse_kl", "kl_k1", "kl_k2", "kl_k3"]


def test_definitions_hold_one_signature_for_all_checkpoints() -> None:
    found = view(*(scored_table(f"step_{i}", BOTH) for i in range(40)))
    text = definitions_markdown("r", [found])
    part = text.split("## kl\n")[1].split("\n## ")[0]
    assert part.count("Signature") == 1 and "policy:its own" in part
    assert "- Names: kl\\_t0.6" in part or "- Names: kl_t0.6, kl_correct_t0.6" in part
    assert "- Unit: nats; neither direction is better" in part


# --- what is left out -------------------------------------------------------------------------------


def test_what_a_part_leaves_out_by_definition_is_no_news() -> None:
    """The entropy of correct responses leaves out all wrong ones."""
    rows = [
        row(name, bounds, n_samples_left_out=20 if is_of_a_part(name) else 0) for name, bounds in BOTH.items()
    ]
    assert left_out(scored_table(rows=rows, statistics=tuple(statistics(r.metric, 1.0) for r in rows))) == []


def test_samples_that_are_not_scored_are_said_once_a_temperature() -> None:
    rows = [
        row(name, bounds, n_samples_left_out=16 if token_metric(name).temperature == "1" else 20)
        for name, bounds in BOTH.items()
    ]
    half = scored_table(rows=rows, statistics=tuple(statistics(r.metric, 1.0) for r in rows))
    assert left_out(half) == [
        "token statistics at temperature 0.6: undefined on 20 samples, which the value leaves out",
        "token statistics at temperature 1: undefined on 16 samples, which the value leaves out",
    ]


def test_the_sentence_on_intervals_speaks_of_the_section_too() -> None:
    flat = scored_table(values=token_values(0.5, 0.0))
    said = next(iter(interval_sentences([view(flat)])))
    # pass@1, four entropies, KL, its reverse and three estimates, and the perplexity
    assert "5 of 11 numbers in the tables have none: 5 because all problems are alike (kl, " in said
    these = interval(0.4, 0.6, "these problems")
    cold = [row(name, b, interval_these=None if "t0.6" in name else these) for name, b in BOTH.items()]
    stats = tuple(statistics(r.metric, 1.0, spreads=((1.0, 0.0, 0.0, 7),) * 4) for r in cold)
    of_these = list(interval_sentences([view(scored_table(rows=cold, statistics=stats))]))[1]
    assert "at k = n" not in of_these


# --- the terminal -----------------------------------------------------------------------------------


def test_the_terminal_says_what_is_scored_with_what() -> None:
    printed = terminal_table(scored_table(values=BOTH, n_scored=16))
    assert max(map(len, printed.splitlines())) <= 80
    assert "kl                       0.0200  [0.0180, 0.0220]       nats\n" in printed
    assert "log_perplexity_t0.6       0.400  [0.360, 0.440]         nats\n" in printed
    assert (
        "scored: 16 of 32 samples, with reference start@22222222, float32, a vocabulary\n  of 96 tokens\n"
        in f"{printed}\n"
    )
    assert "tenth" not in printed and "kl_k" not in printed


def test_long_names_and_small_numbers_keep_the_terminal_to_80_columns() -> None:
    values = token_values(0.5, 0.00041234, temperature="0.123456", half=0.05)
    printed = terminal_table(scored_table("x" * 200, values, scorer=SCORER.replace("start", "y" * 300)))
    assert max(map(len, printed.splitlines())) <= 80


def test_a_run_that_nobody_scored_says_nothing_of_it() -> None:
    assert "scored" not in terminal_table(table())


# --- whole reports ----------------------------------------------------------------------------------

PROBLEMS = tuple(problem(i) for i in range(12))


def _run(path: Path, checkpoint: str, scored: Sequence[int], scorer: str = SCORER) -> RunDir:
    """12 problems with 4 samples each; of problem i the first `scored[i]` are scored at two temperatures."""
    own = scorer.replace("early", checkpoint)
    with RunWriter(path / checkpoint, settings(PROBLEMS, checkpoint=checkpoint), PROBLEMS) as writer:
        for number, (asked, n_scored) in enumerate(zip(PROBLEMS, scored, strict=True)):
            texts = [f"one {i} two {number} three four five six" for i in range(4)]
            writer.append_samples([sample(asked, i, t, checkpoint=checkpoint) for i, t in enumerate(texts)])
            verdicts = [Verdict.CORRECT if i < number % 4 else Verdict.WRONG for i in range(4)]
            writer.append_grades([grade(asked, i, verdict) for i, verdict in enumerate(verdicts)])
            for temperature in (0.6, 1.0):
                entropy = [(0.1 + 0.01 * number) * (t % 7) for t in range(20)]
                kl = [0.0 if checkpoint == "start" else value / 100 for value in entropy]
                options = {"kl": kl, "temperature": temperature, "scorer": own}
                writer.append_token_stats(
                    [token_stats(asked, i, entropy, **options) for i in range(n_scored)]
                )
    return RunDir(path / checkpoint)


def _page(what: ComparedRuns) -> str:
    """Without its figures."""
    return report_markdown("r", what, benchmark_views(what), [])


def test_a_scored_run_has_the_section_with_both_figures(tmp_path: Path) -> None:
    runs = [_run(tmp_path, name, [4] * 12) for name in ("start", "late")]
    write_report(compare_runs(runs), tmp_path / "report", name="r")
    text = (tmp_path / "report/report.md").read_text()
    order = ["\n## Entropy and KL\n", "### sums: entropy and KL", "| temperature | checkpoint | scored |",
             "](figures/kl_against_accuracy_sums.png)", "](figures/entropy_along_response_sums.png)",
             "\n## sums\n"]  # fmt: skip
    assert [text.index(part) for part in order] == sorted(text.index(part) for part in order)
    assert text.count("entropy_along_response_sums.png") == 1
    assert "| 1 | start | 48 of 48 |" in text and "| 0.6 | late | 48 of 48 |" in text
    assert "All 96 samples are scored." in text
    assert "not scored alike" not in text and "measured alike" not in text
    files = (tmp_path / "report" / "metrics.csv").read_text()
    assert "late,sums,all,kl_tenth_10_t0.6,kl," in files


def test_unscored_runs_have_no_section(tmp_path: Path) -> None:
    text = _page(compare_runs([_run(tmp_path, name, [0] * 12) for name in ("start", "late")]))
    assert "Entropy and KL" not in text and "scored" not in text


def test_one_unscored_and_one_half_scored_checkpoint_are_said(tmp_path: Path) -> None:
    runs = [_run(tmp_path, name, own) for name, own in {"a": [4] * 12, "b": [2] * 12, "c": [0] * 12}.items()]
    text = _page(compare_runs(runs))
    assert "- sums: not scored, so without entropy, KL and perplexity: c; run \\`opo-eval score\\`." in text
    assert "- sums: not every sample is scored (b 24 of 48)." in text
    assert "are of those that are: b 24 of 48, c 0 of 48." in text
    assert "| — | c | 0 of 48 | — |" in text
    assert (
        "token statistics at temperature 1: undefined on 24 samples, which the value leaves out (b)." in text
    )


def test_forty_scored_checkpoints_have_a_row_each() -> None:
    many = [scored_table(f"step_{i}", token_values(0.5 - 0.01 * i, 0.01 * i)) for i in range(40)]
    text = _page(compared(many))
    for name in (each.checkpoint for each in many):
        assert text.count(f"\n| 1 | {name} | 32 of 32 |") == 1


def test_one_problem_has_numbers_without_intervals() -> None:
    text = _page(compared([scored_table(values=token_values(half=None))]))
    assert "| 1 | early | 32 of 32 | 0.500 | 0.500 | 1.00 | 1.50 | 0.0200 |" in text
