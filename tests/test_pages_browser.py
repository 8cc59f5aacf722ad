"""The pages of a report in a real browser: from a file, without a network; by mouse and by key; at every width."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import compared
import drawn
import numpy as np
import pytest

from aebench.reporting import report
from aebench.store import Store

WIDTHS = (400, 800, 1400)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium with its network off; skips where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
    names = ("chromium", "chromium-browser", "google-chrome")
    binary, driver = next(filter(None, map(shutil.which, names)), None), shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("needs a browser: the programs chromium and chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    found.execute_cdp_cmd("Network.enable", {})
    offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    found.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    yield found
    found.quit()


def runs(data=drawn.DIGITS, betas=(1.0, 0.1), seeds=5, **more):
    return [drawn.document(data, beta, seed, **more) for beta in betas for seed in range(seeds)]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two data sets; more settings than a board opens with; an autoencoder without a posterior; a failure."""
    folder = tmp_path_factory.mktemp("browsed")
    many = [float(n) for n in range(1, 41)]
    documents = [*runs(betas=many, seeds=4), *runs(drawn.PINWHEEL)]
    documents += [d for variant in ("ae", "tied_ae", "linear_ae") for d in runs(betas=(None,), variant=variant)]
    documents.append(drawn.document(drawn.DIGITS, 0.1, 9, status="diverged", variant="n" * 300))
    drawn.store(folder / "results", documents, figures=["reconstructions"], about="a " * 200 + "b" * 300)
    report(folder / "results", folder / "out")
    return folder / "out"


TURNED = "set\u202eB"
"""A data set whose name turns what follows it around, unless it is isolated."""


@pytest.fixture(scope="module")
def ranked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four settings that are ranked, among them one of a right-to-left name, and others far away that are not."""
    folder, rng = tmp_path_factory.mktemp("ranked"), np.random.default_rng(3)
    base, documents = 10 + rng.normal(0, 0.3, 6), list[dict[str, Any]]()
    for data in ("digits", TURNED):
        for k, variant in enumerate(("ae", "tied_ae", "deep_ae", "\u05d0\u05d1\u05d2 abc")):
            values = {"sse": base + 0.3 * k + rng.normal(0, 0.05, 6), "hoyer": base / 20}
            documents += compared.runs(variant, values, data=data)
        documents += compared.runs("overcomplete_ae", {"sse": base / 1000, "hoyer": base / 20}, data=data, latent=64)
        for beta in (0.1, 1.0, 10.0):
            curve = {"sse": base * (1 + beta), "kl": base / beta, "C": 1e-5 * (base * (1.1 + beta))}
            documents += compared.runs("vae", curve, data=data, hyper={"beta": beta})
            curve["C"] = curve["C"] + 1e-5 + 1e-6 * rng.normal(0, 1, 6)
            documents += compared.runs("beta_vae", curve, data=data, hyper={"beta": beta})
    store = Store(folder / "results")
    store.publish_all([(document, {}, None) for document in documents])
    ids = [document["id"] for document in documents]
    store.write_manifest({"name": "ranked", "about": "", "figures": [], "ids": ids, "text": "", "commands": []})
    report(folder / "results", folder / "out")
    return folder / "out"


def show(browser: Any, page: Path, width: int = 1400, **media: str) -> None:
    """Open a page at a width, with media features such as `prefers_color_scheme="dark"`."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    media = {"prefers_reduced_motion": "reduce"} | media
    features = [{"name": name.replace("_", "-"), "value": value} for name, value in media.items()]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": features})
    go(browser, page)


def go(browser: Any, page: Path, anchor: str = "") -> None:
    """Open a page and wait until it is there, whatever was open before: one that differs in its anchor alone too."""
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get("about:blank")
    browser.get(page.resolve().as_uri() + anchor)
    WebDriverWait(browser, 20).until(lambda _: js(browser, "return document.readyState") == "complete")


def js(browser: Any, code: str) -> Any:
    return browser.execute_script(code)


BOARD = "document.querySelector('#board-0')"
FIRST_COLUMN = f"[...{BOARD}.tBodies[0].rows].filter(r => !r.hidden).map(r => r.cells[0].textContent.trim())"


def column(browser: Any, measure: str) -> list[str]:
    """The numbers of a measure in the rows that are shown, in their order, as the page has them in full."""
    return js(browser, f"""
        const at = [...{BOARD}.tHead.rows[0].cells].findIndex(h => h.dataset.m === "{measure}");
        return [...{BOARD}.tBodies[0].rows].filter(r => !r.hidden).map(r => r.cells[at].dataset.v);
    """)  # fmt: skip


def head(browser: Any, measure: str) -> Any:
    return browser.find_element("css selector", f"#board-0 th[data-m='{measure}'] button")


def sort_of(browser: Any, measure: str) -> str | None:
    return browser.find_element("css selector", f"#board-0 th[data-m='{measure}']").get_attribute("aria-sort")


# ---- it opens


def test_pages_open_from_a_file_without_a_network_and_without_complaint(browser: Any, pages: Path):
    browser.get_log("browser")
    for page in (pages / "index.html", *(pages / "variants").iterdir()):
        show(browser, page)
        asked = js(browser, "return performance.getEntriesByType('resource').map(e => e.name.slice(0, 5))")
        assert set(asked) <= {"data:"}
        assert js(browser, "return [...document.images].every(i => i.complete && i.naturalWidth > 0)")
        assert js(browser, "return document.documentElement.className") == "js"
        assert browser.get_log("browser") == []


def test_the_policy_stops_what_a_name_would_bring_in(browser: Any, pages: Path, tmp_path: Path):
    """Even if something were not escaped."""
    broken = tmp_path / "broken.html"
    text = (pages / "index.html").read_text(encoding="utf-8")
    inserted = (
        "<script>window.hurt = 1</script><img src='x' onerror='window.hurt = 2'><img src='https://example.org/x'>"
    )
    broken.write_text(text.replace("<main", inserted + "<main"), encoding="utf-8")
    show(browser, broken)
    assert js(browser, "return window.hurt") is None
    messages = " ".join(entry["message"] for entry in browser.get_log("browser"))
    assert messages.count("violates the following Content Security Policy directive") >= 3


def test_it_reads_without_its_script(browser: Any, pages: Path, tmp_path: Path):
    """All rows and all data sets are there, and no control that would do nothing."""
    plain = tmp_path / "plain.html"
    text = (pages / "index.html").read_text(encoding="utf-8")
    plain.write_text(text[: text.index("<script>")] + text[text.index("</script>") :], encoding="utf-8")
    show(browser, plain)
    assert len(js(browser, f"return {FIRST_COLUMN}")) == 44
    assert js(browser, "return [...document.querySelectorAll('.panel')].every(p => p.offsetHeight > 0)")
    for control in (".controls", "fieldset.switch", "#board-0-more"):
        assert not browser.find_element("css selector", control).is_displayed()
    shown = js(browser, f"return [...{BOARD}.rows].map(r => [...r.cells].filter(c => c.offsetWidth > 0).length)")
    measures = js(browser, "return document.querySelectorAll('.columns input').length")
    assert {*shown} == {1 + measures}  # also the measures that are a click away where there is a script
    assert measures > 3


@pytest.mark.parametrize("anchor", ["%", "%E0%A4%A", "board-1%", "nowhere", "b%6Fard-1"])
def test_an_anchor_may_be_any_text(browser: Any, pages: Path, anchor: str):
    show(browser, pages / "index.html")
    go(browser, pages / "index.html", f"#{anchor}")
    assert browser.find_element("id", "board-0-said").text == "40 of 44 rows shown"
    assert browser.get_log("browser") == []


# ---- the leaderboard


def test_a_click_sorts_best_first_and_another_turns_it_round(browser: Any, pages: Path):
    show(browser, pages / "index.html")
    assert len(column(browser, "sse")) == 40
    head(browser, "sse").click()
    shown = [float(value) for value in column(browser, "sse")]
    assert shown == sorted(shown)
    assert (sort_of(browser, "sse"), sort_of(browser, "kl")) == ("ascending", None)
    head(browser, "sse").click()
    shown = [float(value) for value in column(browser, "sse")]
    assert shown == sorted(shown, reverse=True)
    assert sort_of(browser, "sse") == "descending"
    assert browser.get_log("browser") == []


def test_a_missing_number_is_last_either_way(browser: Any, pages: Path):
    show(browser, pages / "index.html")
    browser.find_element("id", "board-0-more").click()
    for _ in range(2):
        head(browser, "kl").click()
        values = column(browser, "kl")
        assert values[-4:] == [""] * 4
        assert "" not in values[:-4]
    js(browser, f"{BOARD}.tHead.rows[0].cells[0].querySelector('button').click()")
    names = js(browser, f"return {FIRST_COLUMN}")
    assert names[0] == "ae"
    assert names[-1].startswith("vae")


def test_keys_sort_filter_and_switch(browser: Any, pages: Path):
    from selenium.webdriver import ActionChains, Keys

    show(browser, pages / "index.html")
    js(browser, "document.querySelector('#filter').focus()")
    for _ in range(12):  # by the Tab key alone, from the filter to the head of the second column
        ActionChains(browser).send_keys(Keys.TAB).perform()
        if js(browser, "return document.activeElement.closest('th')?.dataset.m") == "sse":
            break
    outline = js(browser, "return getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"  # one sees where one is
    ActionChains(browser).send_keys(Keys.ENTER).perform()
    assert sort_of(browser, "sse") == "ascending"
    ActionChains(browser).send_keys(Keys.SPACE).perform()
    assert sort_of(browser, "sse") == "descending"
    field = browser.find_element("id", "filter")
    field.send_keys("ae beta 4")
    names = js(browser, f"return {FIRST_COLUMN}")
    assert names
    assert all("beta" in name and "4" in name for name in names)
    field.send_keys(Keys.BACK_SPACE * 20)
    assert len(js(browser, f"return {FIRST_COLUMN}")) == 40
    js(browser, "document.querySelector('[name=boards]').focus()")
    ActionChains(browser).send_keys(Keys.ARROW_RIGHT).perform()
    hidden = js(browser, "return [...document.querySelectorAll('#leaderboards .panel')].map(p => p.hidden)")
    assert hidden == [True, False]
    assert browser.get_log("browser") == []


def test_the_filter_takes_words_in_any_case_and_says_how_many_rows_are_left(browser: Any, pages: Path):
    show(browser, pages / "index.html")
    said = browser.find_element("id", "board-0-said")
    assert said.text == "40 of 44 rows shown"
    assert said.get_attribute("aria-live") == "polite"
    browser.find_element("id", "board-0-more").click()
    assert said.text == "44 of 44 rows shown"
    field = browser.find_element("id", "filter")
    field.send_keys("BETA 1 vae")
    assert said.text.endswith("of 44 rows shown")
    assert all("1" in name for name in js(browser, f"return {FIRST_COLUMN}"))
    field.clear()
    field.send_keys("<none>")
    assert said.text == "0 of 44 rows shown"


def test_only_the_best_and_what_is_not_told_from_it(browser: Any, pages: Path):
    show(browser, pages / "index.html")
    browser.find_element("id", "marked").click()
    rows = js(browser, f"""
        return [...{BOARD}.tBodies[0].rows].filter(r => !r.hidden)
            .map(r => [...r.cells].filter(c => !c.hidden && /best|tied/.test(c.className)).length)
    """)  # fmt: skip
    assert rows
    assert all(rows)


def test_columns_can_be_shown_and_hidden(browser: Any, pages: Path):
    show(browser, pages / "index.html")
    browser.find_element("css selector", ".columns summary").click()
    box = browser.find_element("css selector", ".columns input[value='sse']")
    before = len(js(browser, f"return [...{BOARD}.rows[1].cells].filter(c => !c.hidden)"))
    for change in (-1, 0):
        box.click()
        for row in (0, 1):
            visible = js(browser, f"return [...{BOARD}.rows[{row}].cells].filter(c => !c.hidden).length")
            assert visible == before + change


def test_intervals_are_drawn_on_one_scale(browser: Any, pages: Path):
    show(browser, pages / "index.html")
    head(browser, "sse").click()
    drawn_at = js(browser, f"""
        return [...{BOARD}.tBodies[0].rows].filter(r => !r.hidden)
            .map(r => +r.cells[1].querySelector('circle').getAttribute('cx'))
    """)  # fmt: skip
    values = [float(value) for value in column(browser, "sse")]
    assert drawn_at == sorted(drawn_at)
    slope = (drawn_at[-1] - drawn_at[0]) / (values[-1] - values[0])
    for at, value in zip(drawn_at, values, strict=True):
        assert at == pytest.approx(drawn_at[0] + slope * (value - values[0]), abs=0.02)


def test_the_scale_is_that_of_what_is_ranked_with_numbers_at_its_ends(browser: Any, ranked: Path):
    """What is not ranked may lie a thousand times off: an arrow says so, and the others are not on one spot."""
    show(browser, ranked / "index.html")
    rows = js(browser, f"""
        const of = (row, shape, name) => row.cells[1].querySelector(shape)?.getAttribute(name);
        return [...{BOARD}.tBodies[0].rows].map(r =>
            [r.cells[0].textContent.trim(), r.cells[2].dataset, of(r, "circle", "cx"), of(r, "path", "d")]);
    """)  # fmt: skip
    assert js(browser, f"return {BOARD}.tHead.rows[0].cells[2].dataset.m") == "sse"
    circles = {name: (float(data["v"]), float(at)) for name, data, at, _ in rows if at}
    arrows = {name: path for name, _, _, path in rows if path}
    assert len(circles) + len(arrows) == len(rows)
    names = [name for name, *_ in rows][:4]  # ranked ones first
    low = min(float(data["l"]) for name, data, *_ in rows if name in names)
    high = max(float(data["h"]) for name, data, *_ in rows if name in names)
    for name in names:
        value, at = circles[name]
        assert at == pytest.approx(10 + 140 * (value - low) / (high - low), abs=0.01)
    assert arrows["overcomplete_ae"].startswith("M2 ")
    assert arrows["vae, beta 10"].startswith("M158 ")
    head = js(browser, f"return [...{BOARD}.tHead.rows[0].cells[1].querySelectorAll('span')].map(s => s.textContent)")
    assert head == ["sse", f"{low:.1f}", f"{high:.1f}"]
    spread = max(at for _, at in circles.values()) - min(at for _, at in circles.values())
    assert spread > 60


def test_small_numbers_with_an_exponent_sort_as_numbers(browser: Any, ranked: Path):
    show(browser, ranked / "index.html")
    name = "[...document.querySelectorAll('table')].find(t => t.caption.textContent.startsWith('Curves at matched'))"
    assert js(browser, f"return {name}.textContent.includes('e−')")
    for _ in range(2):
        js(browser, f"[...{name}.querySelectorAll('button')].find(b => b.textContent === 'difference').click()")
        values = js(browser, f"return [...{name}.tBodies[0].rows].map(r => [...r.cells].at(-1).dataset.v)")
        assert "" not in values
        numbers = [float(value) for value in values]
        assert numbers in (sorted(numbers), sorted(numbers, reverse=True))


def test_names_from_right_to_left_turn_no_number(browser: Any, ranked: Path):
    """In captions, notes, cells and sentences a number after such a name stands right of it, its digits in order."""
    show(browser, ranked / "index.html")
    js(browser, "for (const i of document.querySelectorAll('input[value=all]')) i.click();")
    turned = js(browser, """
        const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
        for (let node; (node = walker.nextNode());) {
            if (!node.data.includes(arguments[0]) || node.parentElement.closest('script, style, .unseen')) continue;
            const after = node.data.lastIndexOf(arguments[0]) + arguments[0].length;
            const places = [];
            for (const m of node.data.slice(after).matchAll(/[A-Za-z0-9]/g)) {
                const range = document.createRange();
                range.setStart(node, after + m.index);
                range.setEnd(node, after + m.index + 1);
                const box = range.getBoundingClientRect();
                if (box.width) places.push([Math.round(box.top), box.left]);
            }
            const bad = places.some(([top, left], i) => i && places[i - 1][0] === top && left <= places[i - 1][1]);
            found.push([bad, node.parentElement.tagName, node.data.slice(0, 80), places.length]);
        }
        return found;
    """.replace("arguments[0]", f"'{TURNED}'"))  # fmt: skip
    assert [one for one in turned if one[0]] == []
    assert {"FIGCAPTION", "P"} <= {tag for _, tag, _, letters in turned if letters > 5}


def test_a_link_to_what_is_hidden_shows_it(browser: Any, pages: Path):
    show(browser, pages / "index.html")
    js(browser, "location.hash = '#board-1'")
    assert browser.find_element("id", "board-1").is_displayed()
    assert not browser.find_element("id", "board-0").is_displayed()


def test_tables_of_runs_sort_by_number(browser: Any, pages: Path):
    show(browser, pages / "variants/vae.html")
    js(browser, "[...document.querySelectorAll('#all-runs button')].find(b => b.textContent === 'sse').click()")
    values = js(browser, "return [...document.querySelectorAll('#all-runs tbody tr')].map(r => r.cells[5].dataset.v)")
    numbers = [float(value) for value in values if value]
    assert numbers == sorted(numbers)


# ---- how it looks


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_overflows_the_page(browser: Any, pages: Path, width: int):
    """What is wide scrolls in its own box, with everything open."""
    for page in (pages / "index.html", *(pages / "variants").iterdir()):
        show(browser, page, width)
        js(browser, """
            for (const d of document.querySelectorAll('details')) d.open = true;
            for (const i of document.querySelectorAll('input[value=all]')) i.click();
            for (const b of document.querySelectorAll('.columns input:not(:checked)')) b.click();
        """)  # fmt: skip
        assert js(browser, "return document.documentElement.scrollWidth") <= width
        outside = js(browser, """
            return [...document.querySelectorAll('body *')]
                .filter(e => !e.closest('.scroll, pre, .skip, .unseen'))
                .map(e => [e.getBoundingClientRect(), `${e.tagName}.${e.className}`])
                .filter(([box]) => box.right > innerWidth + 1 || box.left < -1).map(([, name]) => name);
        """)  # fmt: skip
        assert outside == []


def test_it_is_dark_where_that_is_wanted(browser: Any, pages: Path):
    grounds = []
    for look in ("light", "dark"):
        show(browser, pages / "index.html", prefers_color_scheme=look)
        grounds.append(js(browser, "return getComputedStyle(document.body).backgroundColor"))
    assert grounds == ["rgb(255, 255, 255)", "rgb(18, 20, 23)"]


@pytest.mark.parametrize("look", ["light", "dark"])
def test_all_text_has_contrast_as_it_is_drawn(browser: Any, pages: Path, look: str):
    """4.5 against the ground behind it, or 3 where it is large, whatever the style says; links are underlined."""
    show(browser, pages / "index.html", prefers_color_scheme=look)
    low = js(browser, """
        const parts = (c) => c.match(/[\\d.]+/g).map(Number);
        const light = (c) => { const [r, g, b] = parts(c).map(x => x / 255)
            .map(x => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4); return .2126*r + .7152*g + .0722*b; };
        const ground = (e) => { for (; e; e = e.parentElement) {
            const c = getComputedStyle(e).backgroundColor; if (parts(c)[3] !== 0) return c; } };
        const found = [];
        for (const e of document.querySelectorAll('body *')) {
            if (![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()) || !e.offsetHeight) continue;
            if (e.closest('.unseen, .skip, script, style')) continue;
            const s = getComputedStyle(e), [a, b] = [light(s.color), light(ground(e))].sort((x, y) => y - x);
            const large = parseFloat(s.fontSize) >= 24;
            if ((a + .05) / (b + .05) < (large ? 3 : 4.5)) found.push([e.tagName, e.className, s.color, ground(e)]);
        }
        return found.slice(0, 10);
    """)  # fmt: skip
    assert low == []


def test_print_shows_every_data_set_and_no_control(browser: Any, pages: Path):
    show(browser, pages / "index.html", 800)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert js(browser, "return [...document.querySelectorAll('.panel')].every(p => p.offsetHeight > 0)")
    for control in (".controls", "nav", "fieldset.switch", "#board-0-more"):
        assert not browser.find_element("css selector", control).is_displayed()
    rows = js(browser, f"return [...{BOARD}.tBodies[0].rows].map(r => r.offsetHeight)")
    assert len(rows) == 44
    assert all(rows)  # nothing says on paper that some are a click away
    # the text of a button is not printed again where a table goes on on the next page
    assert js(browser, "return getComputedStyle(document.querySelector('.sorts')).display") == "contents"
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": False})
    assert printed["data"].startswith("JVBERi0")  # %PDF-
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_controls_are_large_enough_to_touch(browser: Any, pages: Path):
    """24 pixels, as WCAG 2.2 asks, but for what stands in a line of text or a cell."""
    show(browser, pages / "index.html", 400)
    small = js(browser, """
        return [...document.querySelectorAll('.controls input, .controls summary, .switch label, .under button')]
            .filter(e => e.offsetHeight && (e.closest('label') ?? e).getBoundingClientRect().height < 24)
            .map(e => e.outerHTML.slice(0, 80))
    """)  # fmt: skip
    assert small == []
