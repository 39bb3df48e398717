"""The page in headless Chromium, opened from disk: what a reader does with it."""

import csv
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import pytest
from playwright.sync_api import Page, expect
from report.page.made import (
    N_SAMPLES,
    C,
    N,
    W,
    finishes_of,
    flips,
    lenient_of,
    problems,
    texts_of,
    verdicts_of,
)

SIGNS = {C: "✓ correct", W: "✗ wrong", N: "∅ no answer"}
BOTH = ("before", "after")
_ROWS = "rows => rows.map(row => [+row.ariaPosInSet, row.querySelector('strong').textContent])"
_DATA = "JSON.parse(document.getElementById('page-data').textContent)"
IDS = {problem.source_id: problem.id for problem in problems()}


def samples(page: Page, **shown: str) -> None:
    """Show samples with these filters."""
    page.goto(f"{page.url.partition('#')[0]}#{urlencode({'view': 'samples'} | shown)}")


def listed(page: Page) -> list[str]:
    """The ids in the list, those out of sight by scrolling to them."""
    n = int((page.inner_text("#found")).split()[0])
    names: dict[int, str] = {}
    for _ in range(1000):
        names |= dict(page.eval_on_selector_all(".row", _ROWS))
        if len(names) == n:
            return [names[place] for place in sorted(names)]
        page.evaluate("document.getElementById('list').scrollTop += 300")
        page.wait_for_timeout(10)
    raise AssertionError(f"{len(names)} of {n} rows are in the list")


def wanted(keep) -> list[str]:
    """Ids of the problems that a function of number keeps."""
    return [problem.source_id for number, problem in enumerate(problems()) if keep(number)]


def response(page: Page, side: str = "ia") -> str:
    """The text on one side, once it is there."""
    page.wait_for_selector(f"#side-{side} dl >> text=Rep-5")
    return page.text_content(f"#text-{side}") or ""


# --- the report -------------------------------------------------------------------------------------


def test_verdict_comes_first_and_leads_to_the_flips(opened, hostile: Path) -> None:
    page = opened(hostile)
    first = page.text_content(".verdict .first") or ""
    assert first.startswith("On sums, after is not distinguishable from before on pass@1: difference ")
    assert page.title() == "before & <after>" == page.text_content("#title")
    page.click("text=problems that flipped")
    expect(page.locator("#list")).to_be_visible()
    assert sorted(listed(page)) == sorted(flips())


def column(page: Page, table: str, name: str) -> list[str]:
    """The cells under a heading, from top to bottom."""
    heads = page.locator(f"#{table} th").all_inner_texts()
    place = [head.strip() for head in heads].index(name)
    return page.locator(f"#{table} tbody td:nth-child({place + 1})").all_inner_texts()


def test_tables_sort_by_the_numbers_behind_their_cells(opened, hostile: Path) -> None:
    page = opened(hostile)
    table = page.evaluate(_DATA)["report"]["sections"][0]["tables"][1]
    place = table["columns"].index("difference")
    cells = [row[place] for row in table["rows"]]
    rising = [text for text, number in sorted(cells, key=lambda cell: cell[1])]
    assert len({number for _, number in cells}) > 5, "they differ beyond what is shown"
    head = page.locator("#b0-differences th", has_text="difference")
    head.get_by_role("button").click()
    assert column(page, "b0-differences", "difference") == rising
    assert head.get_attribute("aria-sort") == "ascending"
    head.get_by_role("button").click()
    falling = [text for text, number in sorted(cells, key=lambda cell: -cell[1])]
    assert column(page, "b0-differences", "difference") == falling


def test_what_has_no_number_is_sorted_last_and_the_link_keeps_the_order(opened, hostile: Path) -> None:
    page = opened(hostile)
    for clicks in (1, 2):
        page.locator("#b0-differences th", has_text="adjusted p").get_by_role("button").click()
        adjusted = column(page, "b0-differences", "adjusted p")
        known = [cell for cell in adjusted if cell != "—"]
        assert 0 < len(known) < len(adjusted), clicks
        assert adjusted == known + ["—"] * (len(adjusted) - len(known))
    again = opened(hostile, f"#{page.url.partition('#')[2]}")
    assert column(again, "b0-differences", "adjusted p") == adjusted


def test_numbers_are_not_sorted_as_text(opened, hostile: Path) -> None:
    page = opened(hostile, "#open=b0-lengths")
    page.locator("#b0-lengths-data th", has_text="characters").get_by_role("button").click()
    cells = [int(cell) for cell in column(page, "b0-lengths-data", "characters")]
    assert cells == sorted(cells) and cells[0] == 0 and cells[-1] > 99


def test_figures_have_their_data(opened, hostile: Path) -> None:
    page = opened(hostile)
    images = page.locator("figure img")
    assert images.count() >= 5
    assert all(images.nth(i).evaluate("image => image.complete && image.naturalWidth > 0 || image.loading")
               for i in range(images.count()))  # fmt: skip
    page.click("#b0-pass_at_k summary")
    assert column(page, "b0-pass_at_k-data", "metric")[:4] == ["pass@1", "pass@2", "pass@3", "pass@4"]
    with page.expect_download() as download:
        page.click("#b0-pass_at_k .save")
    rows = list(csv.DictReader(download.value.path().read_text().splitlines()))
    assert len(rows) == 2 * N_SAMPLES
    n = len(problems())
    right = sum(verdicts_of(i, "before").count(C) for i in range(n))
    assert float(rows[0]["value"]) == pytest.approx(right / (n * N_SAMPLES), abs=1e-12)


# --- the list ---------------------------------------------------------------------------------------


def test_filters_give_what_the_records_say(opened, hostile: Path) -> None:
    page = opened(hostile)
    solved = {name: [verdicts_of(i, name).count(C) for i in range(len(problems()))] for name in BOTH}
    expected = {
        "": wanted(lambda i: True),
        "tags=level%3D2": wanted(lambda i: i % 3 == 1),
        "tags=level%3D2%0Akind%3Dplain": [n for n in wanted(lambda i: i % 3 == 1) if n.startswith("plain")],
        "pattern_a=none": wanted(lambda i: solved["before"][i] == 0),
        "pattern_a=none&pattern_b=some": wanted(lambda i: not solved["before"][i] and solved["after"][i]),
        "pattern_b=all": [],
        "flip=gained": [name for name, way in flips().items() if way == "gained"],
        "flip=lost": [name for name, way in flips().items() if way == "lost"],
        "cut=1": wanted(lambda i: "length" in finishes_of(i, "before")),
        "odd=1": wanted(lambda i: lenient_of(i, verdicts_of(i, "before")) != verdicts_of(i, "before")),
        "q=PLAIN7": ["plain7"],
        "q=two": wanted(lambda i: True),
        "q=needle": [],
    }
    for fragment, names in expected.items():
        samples(page, **dict(parse_qsl(fragment)))
        assert listed(page) == names, fragment
    assert expected["flip=gained"] and expected["flip=lost"]


def test_filters_by_hand_and_cleared(opened, hostile: Path) -> None:
    page = opened(hostile)
    page.click("#to-samples")
    page.select_option("[data-tag=level]", label="3")
    page.select_option("[data-state=flip]", "either")
    third = [name for i, name in enumerate(IDS) if i % 3 == 2 and name in flips()]
    assert listed(page) == third
    page.check("[data-state=odd]")
    assert set(listed(page)) < set(third)
    page.click("text=Clear filters")
    assert len(listed(page)) == len(IDS)


def test_list_sorts(opened, hostile: Path) -> None:
    page = opened(hostile)
    samples(page, sort="id")
    names = listed(page)
    plain = [name for name in names if name.startswith("plain")]
    assert plain == [f"plain{i}" for i in range(10)] and names.index("bomb") < names.index("wrong")
    samples(page, sort="a", down="1")
    counts = page.locator(".row .tally:first-child").all_inner_texts()
    right = [int(count.split("/")[0]) for count in counts]
    assert right == sorted(right, reverse=True) and right[0] == 3


def test_text_is_found_in_responses(opened, hostile: Path) -> None:
    page = opened(hostile)
    page.click("#to-samples")
    page.fill("#search", "NEEDLE-plain3")
    expect(page.locator("#found")).to_contain_text("0 of")
    page.check("[data-state=deep]")
    expect(page.locator("#progress")).to_contain_text(f"{len(IDS)} of {len(IDS)} problems searched, 1 with")
    assert listed(page) == ["plain3"]
    page.click(".row")
    page.click("#side-ia .chip >> nth=2")
    response(page)
    assert page.locator("#text-ia .hit").all_inner_texts() == ["needle-plain3"]


# --- one problem ------------------------------------------------------------------------------------


def test_a_flip_is_found_and_opened(opened, hostile: Path) -> None:
    page = opened(hostile)
    page.click("#to-samples")
    page.select_option("[data-state=flip]", "gained")
    gained = [name for name, way in flips().items() if way == "gained"]
    page.click(".row >> nth=0")
    name = gained[0]
    assert page.text_content("#problem h2") == name
    number = list(IDS).index(name)
    for side, checkpoint in zip(("ia", "ib"), BOTH, strict=True):
        page.click(f"#side-{side} .chip >> nth=1")
        response(page, side)
        facts = page.inner_text(f"#side-{side} dl").split("\n")
        assert any(SIGNS[verdicts_of(number, checkpoint)[1]] in fact for fact in facts), facts
        assert {"101", "stopped by itself"} <= set(facts), facts
    page.uncheck("[data-state=tex]")
    assert response(page, "ia") == texts_of(name, "before")[1]
    assert response(page, "ib") == texts_of(name, "after")[1]


def test_formulas_are_set_and_can_be_shown_as_source(opened, hostile: Path) -> None:
    page = opened(hostile)
    samples(page, problem=IDS["plain1"])
    response(page)
    page.wait_for_selector(".statement math mfrac")
    assert page.locator("#text-ia math msup").count() == 1
    page.keyboard.press("t")
    page.wait_for_selector("#text-ia:not(:has(math))")
    assert response(page) == texts_of("plain1", "before")[0]
    assert page.text_content(".statement") == problems()[list(IDS).index("plain1")].prompt


def test_money_is_no_formula(opened, hostile: Path) -> None:
    page = opened(hostile)
    samples(page, problem=IDS["plain2"], ia="3")
    assert "$5 and $6" in response(page)


def test_link_opens_the_same_view(opened, hostile: Path) -> None:
    page = opened(hostile)
    page.click("#to-samples")
    page.select_option("[data-state=flip]", "either")
    page.select_option("[data-state=sort]", "id")
    page.click(".row >> nth=2")
    page.click("#side-ia .chip >> nth=2")
    page.click("#side-ib .chip >> nth=3")
    page.check("[data-state=repeats]")
    page.wait_for_selector("#text-ib mark.repeated")
    there = opened(hostile, f"#{page.url.partition('#')[2]}")
    there.wait_for_selector("#text-ib mark.repeated")
    for selector in ("#samples", "#text-ia", "#text-ib", "#found"):
        assert there.inner_text(selector) == page.inner_text(selector)
    assert there.locator("[aria-pressed=true]").count() == 2
    page.go_back()
    page.wait_for_function("!location.hash.includes('problem=')")
    assert page.locator("#problem h2").count() == 0


def test_keyboard_alone_is_enough(opened, hostile: Path) -> None:
    page = opened(hostile)
    press = page.keyboard.press
    press("s")
    names = listed(page)
    press("j")
    expect(page.locator("#problem h2")).to_have_text(names[0])
    press("ArrowDown"), press("j"), press("k")
    expect(page.locator("#problem h2")).to_have_text(names[1])
    press("ArrowRight"), press("Shift+ArrowRight"), press("Shift+ArrowRight")
    pressed = page.locator("[aria-pressed=true]")
    assert [pressed.nth(i).get_attribute("title").split(":")[0] for i in (0, 1)] == ["sample 1", "sample 2"]
    press("r")
    expect(page.locator("[data-state=repeats]")).to_be_checked()
    press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    page.keyboard.type("plain9")
    expect(page.locator("#found")).to_have_text(f"1 of {len(IDS)} problems")
    press("Escape"), press("j")
    expect(page.locator("#problem h2")).to_have_text("plain9")
    press("?")
    expect(page.locator("#help")).to_be_visible()
    press("Escape")
    expect(page.locator("#help")).to_be_hidden()
    press("Escape")
    assert page.locator("#problem h2").count() == 0
    press("g")
    expect(page.locator("#report")).to_be_visible()


def test_focus_can_be_seen_and_stays_where_it_was(opened, hostile: Path) -> None:
    page = opened(hostile)
    samples(page, problem=IDS["plain1"])
    page.focus("#side-ia .chip >> nth=2")
    page.keyboard.press("Enter")
    response(page)
    assert page.evaluate("document.activeElement.getAttribute('aria-pressed')") == "true"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


# --- looks ------------------------------------------------------------------------------------------


def background(page: Page) -> str:
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_dark_as_the_system_or_as_wished(opened, hostile: Path) -> None:
    light, dark = (opened(hostile, color_scheme=scheme) for scheme in ("light", "dark"))
    assert background(light) == "rgb(255, 255, 255)" != background(dark)
    light.click("#theme")
    assert background(light) == background(dark)
    dark.keyboard.press("d")
    assert background(dark) == "rgb(255, 255, 255)"


@pytest.mark.parametrize("fragment", ["", "#view=samples", f"#view=samples&problem={IDS['wide']}"])
def test_phone_has_nothing_to_the_side(opened, hostile: Path, fragment: str) -> None:
    page = opened(hostile, fragment, viewport={"width": 390, "height": 844})
    if "problem" in fragment:
        response(page)
        expect(page.locator("#list")).to_be_hidden()
    wide = "document.documentElement.scrollWidth"
    assert page.evaluate(wide) == 390
    if "problem" in fragment:
        page.click(".back")
        expect(page.locator("#list")).to_be_visible()


def test_print_leaves_controls_out(opened, hostile: Path) -> None:
    page = opened(hostile, f"#view=samples&problem={IDS['plain1']}")
    response(page)
    page.emulate_media(media="print")
    expect(page.locator("#filters")).to_be_hidden()
    expect(page.locator("#text-ib")).to_be_visible()
    assert page.evaluate("getComputedStyle(document.getElementById('text-ia')).maxHeight") == "none"
