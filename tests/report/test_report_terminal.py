"""What the command line prints of a run and of a comparison."""

import subprocess
import sys

from report.handmade import compared, comparison, curve, row, statistics, table

from opo_eval.arms import Arm
from opo_eval.report import terminal_table, verdict_sentence

EARLY = table(
    "early", {"pass@1": (0.5, 0.4, 0.6), "pass@8": (0.9, 0.8, 1.0), "self_bleu": (60.0, 50.0, 70.0)}
)
LATE = table("late", {"pass@1": (0.7, 0.6, 0.8), "pass@8": (0.9, 0.8, 1.0), "self_bleu": (60.0, 50.0, 70.0)})


def test_the_table_shows_metrics_then_counts() -> None:
    partly = row("rep_5", (0.123, 0.1, 0.15), n_samples_left_out=2)
    values = {"pass@1": (0.5, 0.45, 0.55), "characters": (190.4, 170.0, 210.0)}
    stats = tuple(statistics(name, 1.0) for name in (*values, "rep_5", "tokens"))
    printed = terminal_table(table("early", values, rows=[partly], statistics=stats))
    assert printed == (
        "early on sums\n"
        "4 problems, n = 8 samples each; in brackets 95 % over problems like these\n"
        "\n"
        "pass@1                     50.0  [45.0, 55.0]           %\n"
        "characters                  190  [170, 210]             characters\n"
        "rep_5                      12.3  [10.0, 15.0]           %\n"
        "\n"
        "32 samples = 20 correct + 7 wrong + 3 no answer + 1 timed out + 1 grader error\n"
        "problems: 4; problems with fewer samples than others: 0; strict and lenient\n"
        "  verdict disagree: 0; truncated: 0; end unknown: 0; empty: 0; problems without\n"
        "  samples: 0\n"
        "rep_5: undefined on 2 samples, which the value leaves out\n"
        "tokens: undefined on every problem"
    )


def test_the_table_fits_80_columns_and_holds_no_control_characters() -> None:
    big = {"samples": 10**7, "correct": 10**7}
    names = ["x" * 200, "\x1b[31mred\x07\n" * 20]
    values = {"lenient_mean@1024": (0.5, 0.4, 0.6), "characters": (123456.7, 100000.0, 150000.0)}
    for name in names:
        printed = terminal_table(table(name, values, benchmark=name, counts={"problems": 10**6, **big}))
        assert max(map(len, printed.splitlines())) <= 80
        assert printed.replace("\n", "").isprintable()


def test_a_single_problem_has_no_interval() -> None:
    printed = terminal_table(table(values={"pass@1": (0.5,)}, counts={"problems": 1, "samples": 8}))
    assert "1 problem, n = 8 samples each; no intervals, which take two problems or more" in printed
    assert "8 samples = 0 correct" in printed
    assert "+ 8 not graded" in " ".join(printed.split())


# --- a comparison -----------------------------------------------------------------------------------


def _said(*rows, tables=(EARLY, LATE), **fields) -> list[str]:
    """The sentences on verdicts, each on one line again; `test_report_spending` has the others."""
    text = verdict_sentence(compared(tables, rows, **fields))
    assert max(map(len, text.splitlines())) <= 80
    lines = text.replace("\n  ", " ").splitlines()
    return [line for line in lines if not line.startswith(("Warning: ", "Tokens generated: "))]


def test_the_verdict_follows_whose_training_it_speaks_of_and_names_the_family() -> None:
    draw = comparison("pass@8", (0.01, -0.03, 0.05))
    assert _said(comparison("pass@1", (0.172, 0.121, 0.22)), draw) == [
        "This speaks of these training runs (one seed each), not of the method that trained them: a claim "
        "about a method takes several training runs that differ by seed.",
        "sums: late is better than early on pass@1 by 17.2 points, 95 % 12.1 to 22.0 over problems like "
        "these, p = 0.004 (adjusted 0.004). Of the rest of the family: not distinguishable on pass@8.",
        "Between checkpoints, p is adjusted by Holm over 2 tests: 1 benchmark × 2 metrics (pass@1, pass@8) × "
        "1 pair.",
    ]


def test_one_run_alone_and_many_runs() -> None:
    assert _said(tables=[EARLY])[1:] == ["sums: there is nothing to compare."]
    names = [f"c{i}" for i in range(9)]
    rows = [comparison("pass@1", (0.1, 0.05, 0.15), a="c0", b=name) for name in names[1:]]
    lines = _said(*rows, tables=[curve(name, [0.5, 0.6]) for name in names])[1:-1]
    assert [line.split()[1] for line in lines[:-1]] == names[1:6]
    assert lines[-1] == "sums: 3 more checkpoints are in the report."


def test_one_sentence_for_each_benchmark_and_one_over_all() -> None:
    """The last with half the width of each interval, which need not be symmetric."""
    bounds = {"sums": (0.012, 0.004, 0.02), "words": (0.01, -0.03, 0.04)}
    tables = [table(name, benchmark=b) for b in bounds for name in ("early", "late")]
    rows = [comparison("pass@1", own, benchmark=b) for b, own in bounds.items()]
    *each, over_all = _said(*rows, tables=tables)[1:-1]
    assert [line.split(":")[0] for line in each] == ["sums", "words"]
    assert over_all == (
        "late against early on pass@1: better on sums (+1.20 ± 0.80 points); not distinguishable on words "
        "(+1.0 ± 3.5 points). ± is half of the 95 % interval."
    )
    assert not any("±" in line for line in _said(*rows[:1], tables=tables[:2]))


def test_arms_come_before_checkpoints() -> None:
    arms = (Arm(name="grpo", checkpoints=("early", "a")), Arm(name="opo", checkpoints=("late", "b")))
    of_arms = comparison("pass@1", (0.0, -0.1, 0.1), a="grpo", b="opo", n_train_seeds=2)
    said = _said(comparison("pass@1", (0.1, 0.05, 0.15)), arms=arms, arm_comparisons=(of_arms,))
    assert said[0].startswith("Arms: grpo (2 training seeds), opo (2 training seeds).")
    assert said[1].startswith("sums, between arms: opo is not distinguishable from grpo on pass@1")
    assert said[2].startswith("sums: late is better than early")
    assert [line.split(",")[0] for line in said[3:]] == ["Between arms", "Between checkpoints"]


def test_the_terminal_does_not_load_matplotlib() -> None:
    script = (
        "import sys; from opo_eval.report import terminal_table, verdict_sentence;"
        "print(sorted({'matplotlib', 'pandas', 'torch'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
