"""The folder for a paper: what is in it, the same bytes again, and lines for what there is nothing for."""

import re

import pytest
from report.handmade import compared, comparison, table
from report.paper_material import HOSTILE, LONG, followed, settings, views_of

from opo_eval.report.paper.data import Followed, PaperData, Source
from opo_eval.report.paper.files import PaperChoice, paper_files, paper_parts

VALUES = {"pass@1": (0.5, 0.4, 0.6), "pass@2": (0.6, 0.5, 0.7), "self_bleu": (60.0, 55.0, 65.0)}
VIEWS = views_of([table("early", VALUES), table("late", VALUES)], [comparison("pass@1", (0.0, -0.1, 0.1))])
NOTHING = PaperData()
WHOLE = PaperData(training=followed(), held_out={"sums": followed()})


def readme(files: dict[str, bytes]) -> str:
    return files["paper/README.md"].decode()


def left_out(files: dict[str, bytes]) -> list[str]:
    found = re.search(r"## Left out\n\n((?:- .*\n)+)", readme(files))
    return [line.removeprefix("- ") for line in found[1].splitlines()] if found else []


@pytest.fixture(scope="module")
def whole() -> dict[str, bytes]:
    return paper_files("first report", VIEWS, [settings("early"), settings("late")], WHOLE)


@pytest.fixture
def one_file_a_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    """For what is not about the files of figures, most of which take a second each."""
    monkeypatch.setattr("opo_eval.report.paper.files.WIDTHS", {"full": 6.75})
    monkeypatch.setattr("opo_eval.report.paper.style.FORMATS", ("svg",))


def test_every_figure_and_table_in_every_format(whole: dict[str, bytes]) -> None:
    figures = [f"{key}_{w}.{s}" for key in ("training", "kl_and_entropy_sums") for w in ("column", "full")
               for s in ("pdf", "svg", "png", "tex")]  # fmt: skip
    numbers = ["training.csv", "kl_and_entropy_sums.csv", "kl_and_entropy_sums_over_steps.csv"]
    tables = [f"{key}.{suffix}" for key in ("pass_at_k", "diversity") for suffix in ("tex", "md", "csv")]
    expected = [*(f"figures/{name}" for name in (*figures, *numbers)), *(f"tables/{name}" for name in tables)]
    assert sorted(whole) == sorted(f"paper/{path}" for path in (*expected, "README.md"))
    assert all(whole.values())


def test_the_same_again_byte_for_byte(whole: dict[str, bytes]) -> None:
    drawn = [settings("early"), settings("late")]
    assert paper_files("first report", VIEWS, drawn, WHOLE) == whole


def test_readme_leads_to_files_that_are_there_and_says_how_to_use_them(whole: dict[str, bytes]) -> None:
    text = readme(whole)
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert len(links) == 4 and all(f"paper/{link}" in whole for link in links)
    inputs = re.findall(r"\\input\{path/to/this/folder/(.+)\}", text)
    assert len(inputs) == 4 and all(f"paper/{path}.tex" in whole for path in inputs)
    for command in (r"\usepackage{booktabs,graphicx}", r"\graphicspath{{path/to/this/folder/}}"):
        assert command in text


def test_captions_are_under_figures_and_tables(whole: dict[str, bytes]) -> None:
    figure = whole["paper/figures/kl_and_entropy_sums_full.tex"].decode()
    assert r"\begin{figure*}" in figure and r"\includegraphics[width=\textwidth]" in figure
    assert "figures/kl_and_entropy_sums_full.pdf" in figure
    assert r"\label{fig:first_report-" in figure
    said = readme(whole)
    assert "(a) pass@1 against KL to the start; (b) KL to the start over steps; (c) entropy over" in said
    assert "Lines are means over 2 training seeds." in said
    assert "Shaded, each point on its own: 95 % intervals over training seeds." in said
    assert "pass@1 on sums (4 problems, n = 8)." in said


def test_what_there_is_nothing_for_is_left_out_with_the_reason() -> None:
    files = paper_files("r", VIEWS, [], PaperData(held_out={"sums": Followed(source=Source.ROLLOUTS)}))
    assert not any("figures/" in path for path in files)
    assert left_out(files) == [
        "No training: the records of no training run are at hand.",
        "No kl and entropy sums: no checkpoint has both a KL to where training began and a pass@1.",
        "No arms pass@k: no methods are compared: that takes two, each trained with several seeds.",
        "No arms diversity: no methods are compared: that takes two, each trained with several seeds.",
        "No last checkpoints: no training run has as many checkpoints as the mean over the last ones takes.",
    ]


def test_without_anything_there_is_still_a_readme_that_says_so() -> None:
    files = paper_files("r", views_of([table("early", {})]), [], NOTHING)
    assert list(files) == ["paper/README.md"] and len(left_out(files)) == 6
    assert r"\input" not in readme(files)


@pytest.mark.usefixtures("one_file_a_figure")
def test_forty_runs_are_drawn_in_part_and_the_caption_says_so() -> None:
    many = followed([f"run {i}" for i in range(40)])
    files = paper_files("r", VIEWS, [], PaperData(training=many))
    assert "8 of 40 training runs or arms, at even steps; all numbers are in the CSV file." in readme(files)


@pytest.mark.usefixtures("one_file_a_figure")
def test_what_is_not_drawn_is_said_in_the_caption() -> None:
    partly = followed(["opo"], lacking=("grpo: no KL, since not scored beside a reference.",))
    files = paper_files("r", VIEWS, [], PaperData(held_out={"sums": partly}))
    assert "grpo: no KL, since not scored" in files["paper/figures/kl_and_entropy_sums_full.tex"].decode()


def test_hostile_names_are_no_markup_and_no_paths() -> None:
    names = ("early", HOSTILE, LONG)
    views = views_of([table(name, VALUES, benchmark="../etc") for name in names])
    files = paper_files("../a <b>", views, [settings(name) for name in names], NOTHING)
    assert all(re.fullmatch(r"paper/[\w./-]+", path) and ".." not in path for path in files)
    assert "<i>" not in readme(files) and "<b>" not in readme(files)
    assert "<i>" not in files["paper/tables/pass_at_k.md"].decode()


def test_by_default_a_report_has_nothing_of_the_paper() -> None:
    runs = compared([table("early", VALUES)])
    assert paper_parts("r", runs, VIEWS, PaperChoice()) == ([], {})
    section, files = paper_parts("r", runs, VIEWS, PaperChoice(against={}))
    assert section[0] == "## Beside the paper" and list(files) == ["against_paper.csv"]
