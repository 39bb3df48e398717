"""What goes into the page, how it is packed and what is left out."""

import base64
import bz2
import hashlib
import json
import random
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from builders import problem, sample, settings
from report.handmade import compared, comparison, table
from report.page.made import compared_runs, flips, hostile_runs, page_of, problems, write_run

from opo_eval.compare import compare_runs
from opo_eval.measure import MeasureOptions
from opo_eval.records import Grade, Reason, Verdict
from opo_eval.report.figures import Drawing
from opo_eval.report.page import bodies, document, page_html
from opo_eval.report.page.bodies import evenly_first, pack
from opo_eval.report.page.document import SCRIPTS, own_script
from opo_eval.report.views import benchmark_views
from opo_eval.store import RunWriter, find_runs


def data_of(page: bytes) -> dict[str, Any]:
    """The page's data."""
    found = re.search(rb'<script type="application/json" id="page-data">(.*?)</script>', page, re.S)
    assert found
    return json.loads(found[1])


def unpacked(element: bytes) -> Any:
    """What `pack` was given."""
    return json.loads(bz2.decompress(base64.b85decode(element.replace(b",", b"<"))))


def texts_in(page: bytes) -> dict[tuple[int, int], str]:
    """(run, index of the sample over all problems) → text; only for counting and looking up."""
    blocks = re.findall(rb'<script type="application/x-samples" id="block-[\d-]+">([^<]*)</script>', page)
    rows = [row for block in blocks for row in unpacked(block)]
    return {(i, row[0]): row[3] for i, row in enumerate(rows)}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    hostile_runs(folder)
    return folder


@pytest.fixture(scope="module")
def found(runs: Path) -> Any:
    return compared_runs(find_runs(runs)[::-1])


# --- the file ---------------------------------------------------------------------------------------


def test_same_runs_same_bytes_wherever_they_lie(runs: Path, found: Any, tmp_path: Path) -> None:
    shutil.copytree(runs, tmp_path / "elsewhere" / "runs")
    again = compared_runs(find_runs(tmp_path / "elsewhere")[::-1])
    page = page_of(found)
    assert page_of(again) == page
    assert str(runs).encode() not in page


def test_policy_names_exactly_the_scripts_and_the_style(found: Any) -> None:
    page = page_of(found).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy
    inside = [
        *re.findall(r"<script>(.*?)</script>", page, re.S),
        *re.findall(r"<style>(.*?)</style>", page, re.S),
    ]
    digests = {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in inside}
    assert set(re.findall(r"'sha256-([^']*)'", policy[1])) == digests and len(digests) == len(inside) == 3
    assert policy[1].startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy[1] and "http" not in policy[1] and "connect-src" not in policy[1]


def test_every_module_is_in_the_script_and_none_reaches_for_markup() -> None:
    folder = Path(document.__file__).parent / "js"
    assert sorted(path.stem for path in folder.glob("*.js")) == sorted(SCRIPTS)
    for word in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "fetch(", "XMLHttp"):
        assert word not in own_script()


def test_data_cannot_end_its_element(found: Any) -> None:
    page = page_of(found)
    data = re.search(rb'id="page-data">(.*?)</script>', page, re.S)
    assert data and b"<" not in data[1] and data[1].isascii()
    assert data_of(page)["benchmarks"][0]["problems"][0]["prompt"].endswith("<b>two</b>?")


def test_texts_come_back_whole(found: Any) -> None:
    page = page_of(found)
    texts = list(texts_in(page).values())
    assert len(texts) == 2 * 4 * len(problems())
    assert {"</textarea><img src=x onerror='window.pwned=3'><img src=http://127.0.0.1:9/leak>", ""} <= set(
        texts
    )


@pytest.mark.parametrize("text", ["\ud800 alone", "\x00\u2028\U0001f600", '"\\', "", "é" * 3])
def test_any_text_can_be_packed(text: str) -> None:
    packed = pack([(0, 1, None, text, [1, 2])])
    assert b"<" not in packed and packed.isascii()
    assert unpacked(packed) == [[0, 1, None, text, [1, 2]]]


# --- its size ---------------------------------------------------------------------------------------


def kept_and_left(page: bytes) -> tuple[list[str], list[str]]:
    asked = data_of(page)["benchmarks"][0]["problems"]
    return (
        [own["source"] for own in asked if own["blocks"] is not None],
        [own["source"] for own in asked if own["blocks"] is None],
    )


def test_texts_are_left_out_above_the_limit_flips_last(found: Any) -> None:
    whole = page_of(found)
    limit = len(whole) - 2500
    page = page_of(found, most_bytes=limit)
    kept, left = kept_and_left(page)
    assert len(page) <= limit and kept and left
    assert not set(left) & set(flips()), "flips stay as long as anything else can go"
    assert data_of(page)["left_out"].startswith(
        f"The page is limited in size: it has no response texts of {len(left)} of {len(problems())} "
        "problems. They are in the run directories before/sums, after/sums"
    )
    assert data_of(whole)["left_out"] == "" and kept_and_left(whole)[1] == []


def test_no_room_leaves_out_all_texts_and_nothing_else(found: Any) -> None:
    page = page_of(found, most_bytes=0)
    assert kept_and_left(page)[0] == [] and texts_in(page) == {}
    assert data_of(page)["report"] == data_of(page_of(found))["report"]


@pytest.mark.parametrize("n", [0, 1, 2, 7, 500])
def test_order_is_even_wherever_it_is_cut(n: int) -> None:
    order = [j for _, j in evenly_first([[False] * n])]
    assert sorted(order) == list(range(n))
    for cut in range(1, n + 1):
        gaps = [b - a for a, b in zip(sorted(order[:cut]), sorted(order[:cut])[1:], strict=False)]
        assert not gaps or max(gaps) <= 4 * n / cut, (cut, gaps)


def test_a_problem_too_large_for_the_page_does_not_push_out_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = compared_runs(hostile_runs(tmp_path, ["before"]))
    first = evenly_first([[False] * len(problems())])[0][1]
    rows = bodies._samples

    def with_a_giant(run: Any, asked: Any) -> Any:
        giant = asked.source_id == problems()[first].source_id
        noise = base64.b64encode(random.Random(0).randbytes(200_000)).decode()
        return (replace(own, text=noise) if giant else own for own in rows(run, asked))

    whole = len(page_of(found))
    monkeypatch.setattr(bodies, "_samples", with_a_giant)
    kept, left = kept_and_left(page_of(found, most_bytes=whole + 2000))
    assert problems()[first].source_id in left and len(kept) > len(problems()) - 3


def test_worth_keeping_comes_first_from_all_benchmarks() -> None:
    worth = [[False, True, False], [True, False]]
    order = evenly_first(worth)
    assert set(order[:2]) == {(0, 1), (1, 0)} and len(order) == 5


def test_many_long_samples_make_several_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MOST_TEXT", 300)
    page = page_of(compared_runs(hostile_runs(tmp_path, ["a", "b", "c"])))
    asked = data_of(page)["benchmarks"][0]["problems"]
    assert max(len(own["blocks"]) for own in asked) > 2
    assert all({run for _, runs in own["blocks"] for run in runs} == {0, 1, 2} for own in asked)
    assert len(texts_in(page)) == 3 * 4 * len(problems())


# --- what is said -----------------------------------------------------------------------------------


def test_without_runs_the_report_is_there_and_samples_are_not() -> None:
    found = compared([table(), table("late")], [comparison("pass@1", (0.1, 0.05, 0.15))])
    data = data_of(page_of(found))
    assert data["benchmarks"] == [] and data["left_out"] == ""
    (said,) = data["report"]["verdicts"]
    assert said["sentences"][0].startswith("On sums, late is better than early on pass@1 by 10.0 points")
    assert (said["reading"], said["a"], said["b"]) == ("better", "early", "late")


def test_more_pairs_than_fit_are_counted() -> None:
    tables = [table(), *(table(f"c{i}") for i in range(7))]
    rows = [comparison("pass@1", (0.0, -0.1, 0.1), b=f"c{i}") for i in range(7)]
    verdicts = data_of(page_of(compared(tables, rows)))["report"]["verdicts"]
    assert len(verdicts) == 6
    assert verdicts[-1]["sentences"] == ["On sums, 2 more checkpoints are in the table of differences."]


def test_the_grader_is_the_one_that_the_numbers_name(tmp_path: Path) -> None:
    asked = [problem(i) for i in range(3)]
    run = write_run(tmp_path / "c" / "sums", asked, "c")
    with run.writer() as writer:
        writer.append_grades(
            Grade(
                problem_id=p.id,
                index=i,
                verdict=Verdict.WRONG,
                extracted="other",
                reason=Reason.SOURCE,
                grader="h",
            )
            for p in asked
            for i in range(4)
        )
    for grader, answers in (("g", {"0", *(f"{p.answer}<i>" for p in asked)}), ("h", {"other"})):
        data = data_of(page_of(compare_runs([run], MeasureOptions(grader=grader), quiet=True)))
        assert set(data["words"]["answer"]) <= answers and data["words"]["answer"]


def test_ungraded_runs_have_samples_without_verdicts(tmp_path: Path) -> None:
    asked = [problem(i) for i in range(3)]
    with RunWriter(tmp_path / "r", settings(asked), asked) as writer:
        writer.append_samples(sample(p, i, "text") for p in asked for i in range(2))
        run = writer.run
    data = data_of(page_of(compare_runs([run], quiet=True)))
    assert set(data["benchmarks"][0]["runs"][0]["samples"]["verdict"]) == {-1}
    assert data["report"]["verdicts"][0]["sentences"] == ["On sums, there is nothing to compare."]


def test_figures_show_their_own_file_where_they_have_one(found: Any) -> None:
    stem = "figures/kl_sums"
    files = {f"{stem}.svg": b"<svg/>", f"{stem}.csv": b"step,kl,empty\n1,0.25,\n2,1e-05,\n"}
    drawing = Drawing(name="kl", benchmark="sums", stem=stem, files=files)
    page = page_html(found, benchmark_views(found), [drawing], name="x", quiet=True)
    (figure,) = data_of(page)["report"]["sections"][0]["figures"]
    assert figure["data"]["columns"] == ["step", "kl"]
    assert figure["data"]["rows"][1] == [["2", 2.0], ["1e-05", 1e-05]]


def test_names_of_any_length_are_made_fit(tmp_path: Path) -> None:
    long = "x" * 200
    data = data_of(page_of(compared([table(long), replace(table("b" * 200))], [])))
    labels = [row[0] for row in data["report"]["sections"][0]["tables"][0]["rows"]]
    assert all(len(label) <= 40 for label in labels)
