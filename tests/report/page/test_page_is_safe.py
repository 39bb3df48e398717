"""Nothing that a model wrote does anything but be read."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from report.page.made import HOSTILE, TEX, problems

IDS = {problem.source_id: problem.id for problem in problems()}
UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")


def shown(text: str) -> str:
    """How the page shows it: what cannot be seen is named."""
    return UNSEEN.sub(lambda match: f"U+{ord(match[0]):04X}", text)


def text_of(page: Page) -> str:
    page.wait_for_selector("#side-ia dl >> text=Rep-5")
    return page.text_content("#text-ia") or ""


def nothing_ran(page: Page) -> None:
    assert page.evaluate("typeof window.pwned") == "undefined"
    assert page.locator("#problem :is(script, img, iframe, svg, style, link, a, object, form)").count() == 0


@pytest.mark.parametrize("name", HOSTILE)
def test_attacks_are_text(opened, hostile: Path, name: str) -> None:
    page = opened(hostile, f"#view=samples&problem={IDS[name]}&tex=")
    assert text_of(page) == shown(HOSTILE[name])
    nothing_ran(page)


@pytest.mark.parametrize("name", TEX)
def test_hostile_formulas_stay_small_and_inert(opened, hostile: Path, name: str) -> None:
    page = opened(hostile, f"#view=samples&problem={IDS[name]}")
    text_of(page)
    page.wait_for_function("!document.querySelector('#text-ia .formula:not(.set)')", timeout=10_000)
    nothing_ran(page)
    assert page.locator("#text-ia [style], #text-ia [href], #text-ia [src]").count() == 0
    box = page.locator("#text-ia").bounding_box()
    assert box and box["width"] < 700 and box["height"] < 800
    page.keyboard.press("j")  # it still answers
    page.wait_for_function(f"!location.hash.includes('{IDS[name]}') || {str(name == 'plain9').lower()}")


@pytest.mark.parametrize("name", ["wrong", "loop", "deep", "braces"])
def test_what_cannot_be_set_stays_source(opened, hostile: Path, name: str) -> None:
    page = opened(hostile, f"#view=samples&problem={IDS[name]}")
    assert TEX[name][:200] in text_of(page)


def test_policy_stops_even_what_is_markup(browser: Browser, hostile: Path) -> None:
    """Should anything ever get in as markup, it is the browser that refuses to run or fetch it."""
    attack = (
        b"<script>window.pwned=1</script><img src=x onerror=window.pwned=2>"
        b"<img src=http://127.0.0.1:9/leak><iframe src=http://127.0.0.1:9/></iframe>"
        b"<link rel=stylesheet href=http://127.0.0.1:9/x.css><style>#title{display:none}</style>"
        b"<form id=out action=http://127.0.0.1:9/></form>"
    )
    broken = hostile.with_name("broken.html")
    broken.write_bytes(hostile.read_bytes().replace(b"</main>", b"</main>" + attack, 1))
    page = browser.new_page()
    answered: list[str] = []
    page.on("response", lambda response: answered.append(response.url))
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.goto(broken.as_uri())
    page.wait_for_function("performance.getEntriesByName('usable').length > 0")
    page.evaluate("document.getElementById('out').submit()")
    page.evaluate("() => { try { document.body.innerHTML = '<b>x</b>' } catch { window.refused = true } }")
    assert page.evaluate("typeof window.pwned") == "undefined"
    assert page.evaluate("window.refused")
    assert page.is_visible("#title")
    assert [url for url in answered if "127.0.0.1" in url] == []
    assert any("Content Security Policy" in line for line in said)
    page.close()


def test_prompts_ids_and_answers_are_text(opened, hostile: Path) -> None:
    page = opened(hostile, f"#view=samples&problem={IDS['plain0']}&tex=")
    text_of(page)
    assert page.text_content(".statement") == problems()[list(IDS).index("plain0")].prompt
    assert page.locator("#problem b, #problem i").count() == 0
