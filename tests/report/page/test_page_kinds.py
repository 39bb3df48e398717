"""Pages of other runs than the usual two: many problems, one checkpoint, three, no text, no library."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders import problem, sample, settings, token_stats
from playwright.sync_api import expect
from report.handmade import compared, comparison, table
from report.page.made import C, W, compared_runs, hostile_runs, page_of, problems
from tokenizers import Tokenizer

from opo_eval import tiny
from opo_eval.per_token import PerToken, PerTokenWriter
from opo_eval.records import Checkpoint, Grade, Reason
from opo_eval.report.page import document
from opo_eval.store import RunDir, RunWriter

SCORER = "exact|policy:tiny"


def saved(folder: Path, page: bytes) -> Path:
    path = folder / "report.html"
    path.write_bytes(page)
    return path


def ids() -> dict[str, str]:
    return {problem.source_id: problem.id for problem in problems()}


def text_of(page, side: str = "ia") -> str:
    page.wait_for_selector(f"#side-{side} dl >> text=Rep-5")
    return page.text_content(f"#text-{side}")


def test_texts_that_were_left_out_are_said_to_be(opened, tmp_path: Path) -> None:
    found = compared_runs(hostile_runs(tmp_path))
    whole = page_of(found)
    page_bytes = page_of(found, most_bytes=len(whole) - 2500)
    page = opened(saved(tmp_path, page_bytes))
    expect(page.locator("#foot")).to_contain_text("The page is limited in size")
    page.click("#to-samples")
    without = page.locator(".row", has_text="no text")
    without.first.click()
    expect(page.locator("#text-ia")).to_contain_text("before/sums")
    page.locator(".row", has_text="gained").first.click()
    assert len(text_of(page)) > 20


def test_without_the_library_formulas_are_source_and_it_is_said(opened, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(document, "katex_script", lambda: None)
    page = opened(saved(tmp_path, page_of(compared_runs(hostile_runs(tmp_path)))))
    page.goto(f"{page.url}#view=samples&problem={ids()['plain1']}")
    assert r"So \(x^2\) is \boxed{1}." in text_of(page)
    expect(page.locator(".switches")).to_contain_text("the library is not in this page")
    assert page.locator("math").count() == 0


def test_any_two_of_three_checkpoints_are_set_side_by_side(opened, tmp_path: Path) -> None:
    page = opened(saved(tmp_path, page_of(compared_runs(hostile_runs(tmp_path, ["before", "mid", "after"])))))
    page.goto(f"{page.url}#view=samples&problem={ids()['plain1']}")
    assert [page.inner_text(f"#side-{side} h3").split("\n")[0] for side in ("ia", "ib")] == ["before", "mid"]
    page.select_option("[data-state=b]", "after")
    page.select_option("[data-state=a]", "mid")
    page.wait_for_function("document.querySelector('#text-ib')?.textContent.startsWith('after says')")
    assert text_of(page, "ia").startswith("mid says")
    assert "a=mid" in page.url and "b=after" in page.url


def test_one_checkpoint_has_one_side(opened, tmp_path: Path) -> None:
    page = opened(saved(tmp_path, page_of(compared_runs(hostile_runs(tmp_path, ["before"])))))
    page.goto(f"{page.url}#view=samples&problem={ids()['plain1']}")
    text_of(page)
    assert page.locator(".one-side").count() == 1
    assert page.locator("[data-state=flip]").count() == 0


def test_a_page_without_runs_has_no_samples_to_go_to(opened, tmp_path: Path) -> None:
    found = compared([table(), table("late")], [comparison("pass@1", (0.1, 0.05, 0.15))])
    page = opened(saved(tmp_path, page_of(found)))
    expect(page.locator(".verdict.better")).to_be_visible()
    expect(page.locator("#to-samples")).to_be_hidden()


def test_of_many_problems_only_those_in_sight_are_elements(opened, tmp_path: Path) -> None:
    n = 600
    asked = [problem(i) for i in range(n)]
    with RunWriter(tmp_path / "r", settings(asked), asked) as writer:
        writer.append_samples(sample(p, 0, f"the text of {p.source_id}") for p in asked)
        writer.append_grades(
            Grade(problem_id=p.id, index=0, verdict=C if i % 2 else W, reason=Reason.EQUIVALENT, grader="g")
            for i, p in enumerate(asked)
        )
        run = writer.run
    page = opened(saved(tmp_path, page_of(compared_runs([run]))), "#view=samples")
    expect(page.locator("#found")).to_have_text(f"{n} of {n} problems")
    assert 10 < page.locator(".row").count() < 60
    page.evaluate("document.getElementById('list').scrollTop = 1e9")
    page.locator(".row", has_text="p599").click()
    assert text_of(page) == "the text of p599"
    assert page.locator(".row").count() < 60
    far = opened(tmp_path / "report.html", f"#view=samples&problem={asked[450].id}")
    expect(far.locator(".row[aria-selected=true]")).to_be_in_viewport()


# --- forking tokens ---------------------------------------------------------------------------------


def scored_run(folder: Path, texts: Sequence[str], *, path: str | None) -> tuple[Path, list[list[str]]]:
    """A run whose samples have token ids and entropies of every token, and the tokens that fork."""
    tokenizer = Tokenizer.from_file(str(tiny.checkpoint_path("late") / "tokenizer.json"))
    asked, generator, forks = [problem(1), problem(2)], np.random.default_rng(0), []
    made = settings(asked, temperature=0.6)
    made = replace(made, checkpoint=Checkpoint(name="c", path=path))
    rows = []
    with RunWriter(folder / "c" / "sums", made, asked) as writer:
        for p in asked:
            for i, text in enumerate(texts):
                ids = tuple(tokenizer.encode(text, add_special_tokens=False).ids)
                entropy = generator.random(len(ids)).astype(np.float32)
                writer.append_samples([sample(p, i, text, token_ids=ids)])
                writer.append_token_stats(
                    [token_stats(p, i, entropy.tolist(), scorer=SCORER, temperature=0.6)]
                )
                rows.append(PerToken(problem_id=p.id, index=i, scorer=SCORER, temperature=0.6,
                                     entropy=entropy, logprob=-entropy))  # fmt: skip
                most = sorted(range(len(ids)), key=lambda place: -entropy[place])[: -(-len(ids) // 5)]
                forks.append([tokenizer.decode([ids[place]]) for place in sorted(most)])
        PerTokenWriter(writer.run).append(rows)
    return folder / "c" / "sums", forks


TEXTS = ["12+34=46 so the sum is 46", "3+4+5=12, which is \\boxed{12}", "1"]


def test_forking_tokens_are_marked(opened, tmp_path: Path) -> None:
    path, forks = scored_run(tmp_path, TEXTS, path=str(tiny.checkpoint_path("late")))
    run = RunDir(path)
    page = opened(saved(tmp_path, page_of(compared_runs([run]))))
    expect(page.locator("#b0-tokens thead")).to_contain_text("entropy_forking_t0.6")
    for place, own in enumerate(run.problems()):
        for index, text in enumerate(TEXTS):
            page.goto(f"{page.url.partition('#')[0]}#view=samples&problem={own.id}&ia={index}&forking=1&tex=")
            page.wait_for_function(f"document.querySelector('#text-ia')?.textContent === {json.dumps(text)}")
            marked = page.locator("#text-ia mark.forking").all_inner_texts()
            assert marked == forks[place * len(TEXTS) + index]


@pytest.mark.parametrize("path", [None, "/no/such/folder"])
def test_without_the_tokenizer_they_are_not_offered(opened, tmp_path: Path, path: str | None) -> None:
    folder, _ = scored_run(tmp_path, TEXTS, path=path)
    page = opened(saved(tmp_path, page_of(compared_runs([RunDir(folder)]))), "#view=samples")
    page.click(".row")
    text_of(page)
    assert page.locator("[data-state=forking]").count() == 0
    expect(page.locator(".switches")).to_contain_text("No forking tokens of c")
