"""The page of published_tables.py: what each of the three questions comes to, in words and tables."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import sqrt
from statistics import median

from paper_numbers import (
    PAIRS,
    Z_POWER,
    Contrast,
    Finding,
    Range,
    Row,
    Verdict,
    Z,
    chance_to_print,
    contrasts_of,
    every_cell,
    histogram,
    in_family,
    prints,
    reachable,
    rows,
    sampling_variance,
    two_sided,
)

from opo_eval.report.grid import grid_of
from opo_eval.report.markdown import table as markdown_table
from opo_eval.report.published import DIVERSITY, PROBLEMS, SOURCE

CORRELATIONS = (0.0, 0.9, 0.99)
_SEED_SD = 1.0
"""Points: an example of a spread between training runs, to say how many runs a difference would take."""

# --- page: how things are said ----------------------------------------------------------------------


def flow(text: str) -> str:
    """A paragraph on one line."""
    return " ".join(text.split())


def grid(columns: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    return markdown_table(grid_of(columns, lines))


def listed(parts: Iterable[str], separator: str = ", ") -> str:
    """The parts in a sentence."""
    *first, last = [*parts] or ["none"]
    return f"{separator.join(first)} and {last}" if first else last


def span(ends: Range, digits: int) -> str:
    """The two ends, or one number where they print the same."""
    low, high = (f"{end:.{digits}f}" for end in ends)
    return low if low == high else f"{low}–{high}"


def p_span(ends: Range) -> str:
    """P-values between two ends."""
    low, high = ("< 0.001" if end < 0.001 else f"{end:.3f}" for end in ends)
    return low if low == high else f"{low}–{high}"


def interval(difference: float, error: float) -> str:
    """The normal 95 % interval."""
    return f"[{difference - Z * error:+.2f}, {difference + Z * error:+.2f}]"


def cell_name(one: Contrast) -> str:
    """Benchmark and k."""
    return f"{one.before.benchmark} pass@{one.k}"


def pair_name(one: Contrast) -> str:
    """The two methods."""
    return f"{one.after.method} minus {one.before.method}"


def full_name(one: Contrast) -> str:
    """Which difference it is, with its size."""
    return f"{pair_name(one)} on {cell_name(one)} ({one.difference:+.2f})"


def contrasts(findings: Iterable[Finding]) -> list[Contrast]:
    """The findings without their family."""
    return [finding.contrast for finding in findings]


def with_verdict(findings: Iterable[Finding], verdict: Verdict) -> list[Contrast]:
    """The contrasts of this verdict."""
    return contrasts(finding for finding in findings if finding.verdict is verdict)


def of_pair(findings: Iterable[Finding], before: str, after: str) -> list[Finding]:
    """The findings of two methods."""
    return [finding for finding in findings if finding.contrast.names[:2] == (before, after)]


def at_one(findings: Iterable[Finding]) -> list[Contrast]:
    """The contrasts of pass@1."""
    return [one for one in contrasts(findings) if one.k == 1]


# --- page -------------------------------------------------------------------------------------------


def readme(findings: Sequence[Finding], measured: Mapping[str, float]) -> str:
    """The report."""
    blocks = [
        "# What the published tables can tell apart",
        *result_section(findings),
        *counts_section(),
        *row_section(),
        *these_problems_section(findings),
        *family_section(findings),
        *like_these_section(findings, measured),
        *method_section(findings),
        *diversity_section(),
        *against_section(findings),
        *limits_section(),
        flow("""Every cell: [cells.csv](cells.csv). Every difference: [differences.csv](differences.csv).
        Rebuild: `python benchmarks/studies/published_tables.py`."""),
    ]
    return "\n\n".join(blocks) + "\n"


def result_section(findings: Sequence[Finding]) -> Iterator[str]:
    """What can be told apart, in numbers, and the figure."""
    yield table_result(findings)
    yield method_result(findings)
    yield flow("""Three questions are kept apart below. *These problems*: would a difference hold if these
    checkpoints answered these problems again? *Problems like these*: would it hold on other problems of the
    kind? *The method*: would it hold if both arms were trained again? The published cells answer the first
    within bounds, the second only up to a correlation that is not published, the third not at all.""")
    yield "![Published differences with their intervals on these problems](differences.png)"
    yield flow("""Lines are 95 % intervals on these problems, each by itself: the thick line at its narrowest,
    the thin one at its widest, as far as the published cells leave it open. Marks are the reading after
    Holm's adjustment within a table.""")


def table_result(findings: Sequence[Finding]) -> str:
    """The verdicts, counted."""
    first, second = ([f for f in findings if f.contrast.before.table == table] for table in (1, 2))
    told_1, told_2 = (with_verdict(part, Verdict.TOLD_APART) for part in (first, second))
    opened = with_verdict(findings, Verdict.OPEN)
    sizes = (f"{cell_name(one)} ({one.difference:+.2f} points, z {span(one.z, 1)})" for one in told_1)
    return flow(f"""Of the {len(first)} differences in Table 1 of {SOURCE} (exact on-policy against off-policy
    GRPO), **{len(told_1)} can be told apart** on these problems, for these checkpoints of one training run an
    arm: {listed(sizes)}. Of the {len(second)} in Table 2 (OPO, GRPO, SFT), **{len(told_2) or "none"} can**.
    {len(opened)} are open, because the reading depends on counts that are not printed:
    {listed(map(full_name, opened))}. The other {len(with_verdict(findings, Verdict.NOT))} are not beyond the
    noise of drawing the samples, at 5 % over each table.""")


def method_result(findings: Sequence[Finding]) -> str:
    """OPO against GRPO at pass@1, and what one run an arm allows."""
    single = (
        f"{one.difference:+.2f} ± {Z * one.error.high:.2f} points on {one.before.benchmark}"
        for one in at_one(of_pair(findings, "GRPO", "OPO"))
    )
    pooled = (
        f"{difference:+.2f} ± {Z * error:.2f} for {after} minus {before}"
        for _, before, after in PAIRS[:2]
        for difference, error in [average(at_one(of_pair(findings, before, after)))]
    )
    erasing = max(one.erasing_seed_sd() for one in with_verdict(findings, Verdict.TOLD_APART))
    return flow(f"""OPO minus GRPO at pass@1 is {listed(single)} (95 % intervals, these problems). Averaged
    over the three benchmarks, pass@1 differs by {listed(pooled)}. None of this is about the method: there is
    one training run an arm, and a standard deviation of {erasing:.2f} points between runs would be enough to
    make every difference that was told apart insignificant.""")


def average(pooled: Sequence[Contrast]) -> tuple[float, float]:
    """The unweighted mean of differences on different benchmarks, and its standard error."""
    error = sqrt(sum(one.error.high**2 for one in pooled)) / len(pooled)
    return sum(one.difference for one in pooled) / len(pooled), error


# 1. counts


def counts_section() -> Iterator[str]:
    """From percentages to counts."""
    cells = list(every_cell())
    passed = sum(bool(row.counts(k)) for row, k in cells)
    yield "## 1. The cells are counts"
    yield flow(f"""MATH-500 has 500 problems with 8 responses each, AIME 2024 and 2025 have 30 with 16; a
    trained arm is the mean of five checkpoints, SFT is one (inferred). A *unit* is a problem under a
    checkpoint. Then pass@1 is a count of units × n responses, pass@n at k = n a count of units (solved at
    least once), and pass@k between them a count of units × C(n, k). A count prints as a cell if its
    percentage, rounded or truncated to two decimals, is the cell. **Some count does for {passed} of
    {len(cells)} cells.** What that is worth depends on the denominator: the last column is the share of all
    percentages with two decimals for which some count does. For cells not listed it is 1, so for them the
    check cannot fail; pass@1 of the trained arms on MATH-500 and nearly all cells between k = 1 and n are
    such cells.""")
    columns = ("benchmark", "rows", "k", "denominator", "cells", "with a count", "by chance")
    yield grid(columns, count_lines(cells))
    yield rounding_paragraph(cells)
    yield grid(("benchmark", "method", "correct responses (pass@1)", "units solved (pass@n)"), solved_lines())


def count_lines(cells: Iterable[tuple[Row, int]]) -> Iterator[tuple[str, ...]]:
    """One line for each kind of cell that can fail the check."""
    kinds: dict[tuple[str, str, int, int], list[bool]] = defaultdict(list)
    for row, k in cells:
        arm = "SFT" if row.method == "SFT" else "trained"
        kinds[row.benchmark.split()[0], arm, k, row.denominator(k)].append(bool(row.counts(k)))
    for (benchmark, arm, k, denominator), passed in sorted(kinds.items()):
        chance = chance_to_print(denominator)
        if chance < 1:
            counted = (f"{denominator:,}", str(len(passed)), str(sum(passed)), f"{chance:.3f}")
            yield benchmark, arm, str(k), *counted


def rounding_paragraph(cells: Sequence[tuple[Row, int]]) -> str:
    """Which cells were rounded and which truncated."""
    by_rule: dict[str, list[str]] = {"truncated": [], "rounded": []}
    for row, k in cells:
        rules = set(row.counts(k).values())
        if len(rules) == 1 and rules <= by_rule.keys():
            by_rule[rules.pop()].append(f"{row.cells[k]} ({row.benchmark}, {row.method}, pass@{k})")
    return flow(f"""Only by truncation are printed: {listed(by_rule["truncated"], "; ")}. Only by rounding:
    {listed(by_rule["rounded"], "; ")}. So neither rule alone made the tables, and both are admitted
    throughout.""")


def solved_lines() -> Iterator[tuple[str, ...]]:
    """The counts of pass@1 and pass@n of every row."""
    for table in (1, 2):
        for row in rows(table):
            yield row.benchmark, row.method, *(count_text(row, k) for k in (1, row.samples))


def count_text(row: Row, k: int) -> str:
    """The counts that print as a cell, of how many."""
    least, most = min(row.counts(k)), max(row.counts(k))
    shown = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    return f"{shown} of {row.denominator(k):,}"


# 1. counts: checkpoints and rows


def row_section() -> Iterator[str]:
    """How many checkpoints, and the cells of a row together."""
    yield checkpoints_paragraph()
    passing = passing_by_checkpoints()
    counted = ["cells with a count", *map(str, passing.values())]
    yield grid(("checkpoints of a trained arm", *map(str, passing)), [counted])
    every = [row for table in (1, 2) for row in rows(table)]
    found = sum(prints(histogram(row), row) for row in every)
    yield flow(f"""The cells of a row hang together: all are means over one histogram, how many units had 0,
    1, ... n correct responses. An integer programme finds a histogram that prints as every cell of its row
    for {found} of {len(every)} rows, confirmed in exact arithmetic. That is more than monotone cells: given
    the other cells of its row, a cell could lie only in a range of this width (points, median over rows).""")
    yield grid(("benchmark", *(f"pass@{k}" for k in (1, 2, 4, 8, 16))), room_lines())


def passing_by_checkpoints() -> dict[int, int]:
    """Of the AIME cells of trained arms at k = 1 and 16: with a count, by the number of checkpoints."""
    cells = trained_aime_cells()
    return {n: sum(bool(replace(row, checkpoints=n).counts(k)) for row, k in cells) for n in range(1, 11)}


def trained_aime_cells() -> list[tuple[Row, int]]:
    """The cells of trained arms whose denominators are small enough to say something."""
    return [(row, k) for row, k in every_cell() if row.method != "SFT" and row.samples == 16 and k in (1, 16)]


def checkpoints_paragraph() -> str:
    """What the counts say of the number of checkpoints."""
    number = len(trained_aime_cells())
    full = [str(n) for n, passing in passing_by_checkpoints().items() if passing == number]
    sft = [(row, k) for row in rows(2) if row.method == "SFT" for k in (1, row.samples)]
    passed = sum(bool(row.counts(k)) for row, k in sft)
    return flow(f"""The number of checkpoints can be read off the cells. Of the {number} AIME cells of trained
    arms at k = 1 and 16, all have a count for {listed(full)} checkpoints and for no other number up to 10.
    For SFT {passed} of {len(sft)} cells at k = 1 and n have a count for one checkpoint; they would have one
    for five too, but only one in five such counts is also a count for one.""")


def room_lines() -> Iterator[tuple[str, ...]]:
    """Median width of what a cell could be, given the other cells of its row."""
    widths: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row, k in every_cell():
        ends = reachable(row, k)
        widths[row.benchmark][k].append(100 * (ends.high - ends.low))
    for benchmark, by_k in widths.items():
        yield benchmark, *(f"{median(by_k[k]):.1f}" if k in by_k else "" for k in (1, 2, 4, 8, 16))


# 2. these problems


def these_problems_section(findings: Sequence[Finding]) -> Iterator[str]:
    """The first question."""
    yield "## 2. These problems, these checkpoints"
    yield flow("""For the unbiased estimator, pass@2 minus pass@1 is the mean over units of p (1 - p),
    estimated without bias. So the sampling variance of a published pass@1 is (pass@2 - pass@1) / (units × n)
    and can be read off the table. It needs no assumption that the five checkpoints are alike: it is the
    variance of their mean if each of them answered again. For larger k up to n / 2 the unbiased estimate of a
    unit's variance is v_k² - v_2k, where v_k is its share of draws of k responses that are all wrong; the
    mean of this over units is linear in the row's histogram, and two linear programmes give its sharp bounds.
    At k = n no unbiased estimate from n responses exists, and the bounds are wider: Jensen's inequality
    below, a chord or the binomial variance above. Hence the ranges.""")
    yield flow("""The interval is the widest. P-values are normal and two-sided, adjusted by Holm's method
    over all differences of the table. *Told apart*: below 0.05 at the largest variance. *Open*: below 0.05 at
    the smallest variance only. *Not told apart*: above 0.05 at both.""")
    columns = ("difference", "95 % interval", "z", "Holm p", "reading")
    for _, before, after in PAIRS:
        yield f"### {after} minus {before}"
        chosen = of_pair(findings, before, after)
        yield grid(("benchmark", "k", before, after, *columns), map(difference_line, chosen))


def difference_line(finding: Finding) -> tuple[str, ...]:
    """A difference's line on the page."""
    one = finding.contrast
    cells = (one.before.cells[one.k], one.after.cells[one.k], f"{one.difference:+.2f}")
    said = (interval(one.difference, one.error.high), span(one.z, 2), p_span(finding.adjusted))
    return one.before.benchmark, str(one.k), *cells, *said, str(finding.verdict)


def family_section(findings: Sequence[Finding]) -> Iterator[str]:
    """What other families would say: every difference alone, OPO minus GRPO alone, means over benchmarks."""
    yield "### Other families"
    alone = [one for one in contrasts(findings) if one.p_value.high < 0.05]
    more = [one for one in alone if one not in with_verdict(findings, Verdict.TOLD_APART)]
    yield flow(f"""*Each alone.* Without adjustment {len(more)} more intervals leave out 0:
    {listed(map(full_name, more))}. Of {len(findings)} true zeros, {0.05 * len(findings):.1f} would be
    expected to.""")
    yield smaller_family_paragraph()
    yield "*Averaged.* The unweighted mean over the three benchmarks at pass@1, unadjusted:"
    yield grid(("comparison", "difference", "95 % interval", "z", "p"), map(average_line, PAIRS))


def smaller_family_paragraph() -> str:
    """Holm over OPO minus GRPO alone."""
    alone = in_family(contrasts_of(2, "GRPO", "OPO"))
    told = with_verdict(alone, Verdict.TOLD_APART)
    opened = (
        f"{cell_name(finding.contrast)} (p {p_span(finding.adjusted)})"
        for finding in alone
        if finding.verdict is Verdict.OPEN
    )
    return flow(f"""*OPO minus GRPO as a family of {len(alone)}.* Told apart: {len(told) or "none"}. Open:
    {listed(opened)}.""")


def average_line(pair: tuple[int, str, str]) -> tuple[str, ...]:
    """A comparison's mean over the benchmarks at pass@1."""
    pooled = [one for one in contrasts_of(*pair) if one.k == 1]
    difference, error = average(pooled)
    z = abs(difference) / error
    p_value = p_span(Range(two_sided(z), two_sided(z)))
    said = (f"{difference:+.2f}", interval(difference, error), f"{z:.2f}", p_value)
    return pair_name(pooled[0]), *said


# 3. problems like these


def like_these_section(findings: Sequence[Finding], measured: Mapping[str, float]) -> Iterator[str]:
    """The second question."""
    yield "## 3. Problems like these"
    yield flow("""A paired standard error takes the difference on each problem, which is not published. Known
    is the spread over problems of each arm's true pass@1, since the mean of p² is 2 pass@1 - pass@2 (and of
    pass@k for k up to n / 2, from pass@2k). Unknown is the correlation ρ of the two arms over problems. The
    standard error falls with ρ, and never below that of section 2. *Least ρ*: from where on the published
    difference would be significant, alone and unadjusted. *Detectable*: the true difference that this
    benchmark finds with a power of 80 %. *Problems*: how many of them the published difference takes at that
    power.""")
    header = ("comparison", "benchmark", "difference", "SD over problems", "SE at ρ = 0", "0.9", "0.99")
    more = ("least ρ", "detectable at ρ = 0.9", "0.99", "problems at ρ = 0.9", "0.99")
    yield grid((*header, *more), map(like_these_line, at_one(findings)))
    yield least_correlation_paragraph(findings)
    anchors = (f"{rho:.2f} on {name}" for name, rho in measured.items())
    yield flow(f"""How large ρ is can be measured where single responses are published. Between steps 400 and
    800 of one RL run of a 3B model (arXiv 2505.24760, 50 responses a problem, sampling noise removed) it is
    {listed(anchors)}, the latter from few solved problems. Whether the arms here are more alike is not
    known.""")


def like_these_line(one: Contrast) -> tuple[str, ...]:
    """A difference's line in the table of the second question."""
    before, after = one.spreads
    errors = [one.error_like_these(rho) for rho in CORRELATIONS]
    least = one.least_correlation()
    return (
        pair_name(one),
        one.before.benchmark,
        f"{one.difference:+.2f}",
        f"{before:.1f}, {after:.1f}",
        *(f"{error:.2f}" for error in errors),
        f"{least:.3f}" if least <= 1 else "at none",
        *(f"{Z_POWER * error:.2f}" for error in errors[1:]),
        *(f"{one.problems_needed(rho):,}" for rho in CORRELATIONS[1:]),
    )


def least_correlation_paragraph(findings: Iterable[Finding]) -> str:
    """Which differences some correlation would make significant."""
    known = [one for one in contrasts(findings) if one.has_spreads]
    possible = [one for one in known if one.least_correlation() <= 1]
    said = (f"{full_name(one)} from ρ = {one.least_correlation():.3f}" for one in possible)
    return flow(f"""Over all k up to n / 2, {len(possible)} of {len(known)} differences would be significant
    at some ρ: {listed(said, "; ")}. For the others no ρ is large enough: the samples alone are too noisy, or
    the two arms spread too differently.""")


# 4. the method


def method_section(findings: Sequence[Finding]) -> Iterator[str]:
    """The third question."""
    shown = [one for one in contrasts(findings) if one.erasing_seed_sd() > 0]
    shown += [one for one in at_one(of_pair(findings, "GRPO", "OPO")) if one not in shown]
    yield "## 4. The method"
    yield flow(f"""Every arm is one training run, and five checkpoints of a run are not five runs. The spread
    between runs cannot be computed from the tables, so they answer this question for no cell. What can be
    said is how small the spread would have to be. *Erased from*: the standard deviation between runs of one
    method from which the difference of two single runs is not significant, alone and unadjusted. *Runs*: how
    many an arm takes at a standard deviation of {_SEED_SD:g} point, an example, with a power of 80 %. Listed:
    every difference that is significant alone, then OPO minus GRPO at pass@1.""")
    columns = ("comparison", "cell", "difference", "erased from (points)", "runs an arm")
    yield grid(columns, map(method_line, shown))
    yield one_response_paragraph()


def method_line(one: Contrast) -> tuple[str, ...]:
    """A difference's line in the table of the third question."""
    erased = one.erasing_seed_sd()
    said = (f"{one.difference:+.2f}", f"{erased:.2f}" if erased else "not significant at 0")
    return pair_name(one), cell_name(one), *said, f"{one.runs_needed(_SEED_SD):,}"


def one_response_paragraph() -> str:
    """How the published noise compares with what others measured."""
    aime = [row for table in (1, 2) for row in rows(table) if row.samples == 16]
    published = [100 * sqrt(sampling_variance(row, 1).high) for row in aime]
    single = [se * sqrt(row.checkpoints * row.samples) for row, se in zip(aime, published, strict=True)]
    return flow(f"""Sober Look (arXiv 2504.07086) finds standard deviations of 5 to 15 points between
    evaluation seeds on sets of this size. The published cells imply {min(single):.1f} to {max(single):.1f}
    points for one response a problem on AIME, which 16 responses and up to five checkpoints bring down to
    {min(published):.2f} to {max(published):.2f}. Both are noise of the evaluation. Neither is the spread
    between training runs, which comes on top and which no number of responses lowers.""")


# 5. diversity


def diversity_section() -> Iterator[str]:
    """Tables 3 and 4."""
    yield "## 5. Rep-5 and Self-BLEU (Tables 3 and 4)"
    yield flow("""No counts can be derived here. Rep-5 is a mean of ratios whose denominators, the n-grams of
    each response, are not published; Self-BLEU is no count. How many responses and checkpoints went in, the
    tokenizer, BLEU's order and smoothing, the think section and truncation are not stated. So there is no
    standard error and no reading. A reading would take each problem's value under each arm and checkpoint,
    and these settings. Percent; lower is better.""")
    yield grid(
        ("table", "comparison", "metric", "benchmark", "before", "after", "difference"), diversity_lines()
    )


def diversity_lines() -> Iterator[tuple[str, ...]]:
    """One line for each metric and benchmark of Tables 3 and 4."""
    for table, methods in DIVERSITY.items():
        (before, first), (after, second) = methods.items()
        for metric in first:
            cells = zip(PROBLEMS, first[metric].split(), second[metric].split(), strict=True)
            for benchmark, a, b in cells:
                change = f"{float(b) - float(a):+.2f}"
                yield str(table), f"{after} minus {before}", metric, benchmark, a, b, change


# 6. against the headline


def against_section(findings: Sequence[Finding]) -> Iterator[str]:
    """The cells in which the first-named of two methods is lower."""
    against = [finding for finding in findings if finding.contrast.difference < 0]
    lost, every = (Counter(map(pair_name, contrasts(some))) for some in (against, findings))
    said = (f"{lost[pair]} of {number} cells of {pair}" for pair, number in every.items())
    told = len(with_verdict(against, Verdict.TOLD_APART))
    yield "## 6. Where the headline does not hold"
    yield flow(f"""The paper claims an advantage in most cases, and parity at larger k. The first of two
    methods is lower in {listed(said)}; about the last pair the paper claims nothing. Told apart among these
    cells: {told or "none"}.""")
    yield grid(("comparison", "cell", "difference", "95 % interval", "reading"), map(against_line, against))
    lines = list(diversity_lines())
    worse = [line for line in lines if line[-1].startswith("+")]
    named = (
        f"{metric} on {benchmark}, {pair} ({change})" for _, pair, metric, benchmark, *_, change in worse
    )
    yield flow(f"""In Tables 3 and 4, where lower is better, {len(worse)} of {len(lines)} differences go the
    other way: {listed(named)}.""")


def against_line(finding: Finding) -> tuple[str, ...]:
    """A cell where the after column is lower."""
    one = finding.contrast
    said = (f"{one.difference:+.2f}", interval(one.difference, one.error.high), str(finding.verdict))
    return pair_name(one), cell_name(one), *said


# limits

_LIMITS = (
    """The checkpoints are taken as they are. For a statement about the run, rather than about these five
    checkpoints, the intervals of section 2 are too narrow: what the checkpoints differ by among themselves
    adds a variance that is not published.""",
    """Responses are taken as independent. If the same sampling seeds were used throughout, nearly equal
    checkpoints would give like responses, and the standard error of an arm would be too small; that of a
    difference could err either way. How seeds were set is not published.""",
    """The variances are estimates: from 30 problems on AIME, and at k = 8 and 16 from the few of them whose
    outcome was open. The bounds at k = n hold for true means and are taken at published ones. The normal
    approximation is good at pass@1 and rough at k = n on AIME.""",
    """With 30 problems, Student's t in place of the normal distribution would widen the intervals of section
    3 by 4 %.""",
    """In section 3 what the five checkpoints of a problem differ by is counted as a difference between
    problems, and the standard error of section 2 is taken at its largest.""",
    """A cell with several counts is taken as printed, at most 0.01 points off; the bounds of the variances
    admit all its counts.""",
    """The k of one benchmark share their responses, and Table 2 uses each arm in two comparisons. Holm's
    method allows for that; the numbers of readings are not numbers of independent findings.""",
    """The numbers are those of the paper. Nothing was sampled or graded again.""",
)


def limits_section() -> Iterator[str]:
    """What all this rests on."""
    yield "## Limits"
    yield "\n".join(f"- {flow(limit)}" for limit in _LIMITS)
