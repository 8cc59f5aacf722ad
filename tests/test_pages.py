"""What the pages of a report are made of: nothing from outside, all names escaped, colours that can be read."""

from __future__ import annotations

import base64
import hashlib
import re
from itertools import pairwise
from pathlib import Path

import drawn
import numpy as np
import pytest
from html_tree import Node, parse

from aebench.reporting import figures, html, report, strips

CSS = (html.TEMPLATES / "page.css").read_text(encoding="utf-8")
TEMPLATES = "".join(path.read_text(encoding="utf-8") for path in html.TEMPLATES.glob("*.html"))
TAGS = {*re.findall(r"<([a-z][a-z0-9]*)", TEMPLATES + Path(strips.__file__).read_text(encoding="utf-8"))}
HOSTILE = [
    "<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "&quot;&amp;", "a' onmouseover='alert(1)",
    "</style></script><!--", "{{ 7 * 7 }}{% raw %}", "javascript:alert(1)", "x" * 400, "\u05d0\u05d1\u202e\u05d2 abc",
    "line\nbreak\ttab", "../../etc/passwd", "CON", "",
]  # fmt: skip
"""Names as suites, plug-ins and errors may have them."""


def runs(data=drawn.DIGITS, betas=(1.0, 0.1), seeds=5, **more):
    return [drawn.document(data, beta, seed, **more) for beta in betas for seed in range(seeds)]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of two data sets, with figures, a failure and an autoencoder without a posterior."""
    folder = tmp_path_factory.mktemp("pages")
    failed = drawn.document(drawn.DIGITS, 0.1, 9, status="diverged", message="loss is nan")
    failed["error"]["traceback"] = "Traceback: <module>"
    documents = [*runs(), *runs(drawn.PINWHEEL), *runs(betas=(None,), variant="ae"), failed]
    drawn.store(folder / "results", documents, figures=["curves", "reconstructions"])
    report(folder / "results", folder / "out")
    return folder / "out"


def every(pages: Path) -> list[Path]:
    return [pages / "index.html", *sorted((pages / "variants").iterdir())]


# ---- self-contained


def test_a_page_asks_for_nothing_outside_itself(pages: Path):
    for page in every(pages):
        root = parse(page)
        for node in root.all():
            assert node.tag not in ("iframe", "object", "embed", "base", "form", "audio", "video", "source")
            source = node.attrs.get("src", node.attrs.get("data", "data:"))
            assert source.startswith("data:image/") or node.tag != "img" or not source, node.attrs
            assert "srcset" not in node.attrs
            if node.tag == "link":
                assert node.attrs == {"rel": "icon", "href": "data:,"}
            if node.tag == "script":
                assert node.attrs == {}
        assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org/2000/svg)", CSS)


def test_every_link_leads_somewhere(pages: Path):
    for page in every(pages):
        root = parse(page)
        ids = [node.attrs["id"] for node in root.all(id="*")]
        assert len(set(ids)) == len(ids)
        for link in root.all("a"):
            place, _, anchor = link.attrs["href"].partition("#")
            assert not place or (page.parent / place).is_file(), link.attrs
            if anchor and not place:
                assert anchor in ids
        for node in root.all():
            for name in ("for", "aria-labelledby"):
                assert node.attrs.get(name, ids[0]) in ids


def test_figures_may_be_in_the_page_alone(pages: Path, tmp_path: Path):
    """As on the whole page, but for the links; what an earlier report laid beside it goes, a user's own file stays."""
    page = report(pages.parent / "results", tmp_path)
    (tmp_path / "figures" / "mine.txt").write_text("mine")
    shown = [node.attrs["src"] for node in parse(page).all("img")]
    assert report(pages.parent / "results", tmp_path, figure_files=False) == page
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["mine.txt"]
    assert [node.attrs["src"] for node in parse(page).all("img")] == shown
    assert len(shown) > 2
    test_every_link_leads_somewhere(tmp_path)
    written = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "figures/" not in written
    assert "The figures are in [the page](index.html)." in written


def test_the_policy_allows_the_own_style_and_script_alone(pages: Path):
    for page in every(pages):
        root = parse(page)
        head = root.one("head")
        metas = [node for node in head.all("meta") if node.attrs.get("http-equiv") == "Content-Security-Policy"]
        rules = dict(rule.split(" ", 1) for rule in metas[0].attrs["content"].split("; "))
        assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
        assert rules["img-src"] == "data:"
        for name, tag in (("style-src", "style"), ("script-src", "script")):
            digest = hashlib.sha256(root.one(tag).text.encode()).digest()
            assert rules[name] == f"'sha256-{base64.b64encode(digest).decode()}'"
        order = [node.attrs.get("http-equiv", node.tag) for node in head.all()]
        assert order.index("Content-Security-Policy") < order.index("style")
        assert not [node for node in root.all() if "style" in node.attrs or any(a.startswith("on") for a in node.attrs)]


# ---- names


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_names_are_shown_as_they_are_and_do_nothing(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch):
    """As the name of a suite, a variant, a data set, a device; in an error; in a hyperparameter's value."""
    monkeypatch.setattr(figures, "STANDARD", ("rate_distortion", "reconstructions"))
    drawn.EVENTS[name] = (2,)
    data = drawn.DIGITS | {"name": name}
    failed = drawn.document(data, 0.1, 9, status="failed", message=name, variant=name)
    failed["error"]["traceback"] = name
    documents = [*runs(data, variant=name, made={"device": name}), failed]
    for document in documents:
        document["spec"]["hyper"] |= {"why": name}
    drawn.store(tmp_path / "r", documents, name=name or "unnamed", about=name, text=name, arguments=[name])
    report(tmp_path / "r", tmp_path / "out")
    shown = " ".join(name.split())
    for page in every(tmp_path / "out"):
        assert page.resolve().is_relative_to(tmp_path / "out")
        assert len(page.name) < 120
        root = parse(page)
        assert {node.tag for node in root.all()} <= TAGS
        assert len(list(root.all("script"))) == len(list(root.all("style"))) == 1
        assert not [a for node in root.all() for a in node.attrs if a.startswith("on") or a == "style"]
        assert {node.attrs["src"][:11] for node in root.all("img")} <= {"data:image/"}
        assert shown in " ".join(root.one("body").text.split())
        assert not [link for link in root.all("a") if re.match(r"\s*(javascript|data):", link.attrs["href"])]


def test_names_stand_in_isolation_from_the_text_around_them(pages: Path):
    """Right-to-left names must not turn the numbers beside them."""
    root = parse(pages / "index.html")
    assert root.one("h1").one("bdi").text == "sweep"
    assert all([child.tag for child in link.all()] == ["bdi"] for link in root.all("a", class_="name"))


@pytest.mark.parametrize("name", ["\u05d0\u05d1\u05d2", "set\u202eB", "a\u2066b\u2069\u2069c", "\u0645\nabc"])
def test_names_within_a_text_are_isolated_too(tmp_path: Path, name: str):
    """As the name of a data set, a variant, a device, and in an error: in captions, notes, cells and words for the
    blind. A name has no isolate of its own left that would end the one around it.
    """
    drawn.EVENTS[name] = (1, 8, 8)
    data = drawn.DIGITS | {"name": name}
    documents = [*runs(data, betas=(None,), variant="ae"), *runs(data, betas=(None,), variant=f"m.py:{name}")]
    documents += runs(data, betas=(1.0,), latent=5, made={"device": name})
    documents += [drawn.document(data, 0.1, 9, status="failed", message=f"lost in {name}, 10 of 20")]
    drawn.store(tmp_path / "r", documents, figures=["comparison"])
    report(tmp_path / "r", tmp_path / "out")
    seen = set[str]()
    for page in every(tmp_path / "out"):
        for node in parse(page).all():
            own = [child for child in node.children if isinstance(child, str)] + [*node.attrs.values()]
            if node.tag in ("script", "style", "code"):
                continue
            for text in own:
                depth = np.cumsum([{"\u2066": 1, "\u2068": 1, "\u2069": -1}.get(letter, 0) for letter in text])
                assert not len(depth) or (depth.min() >= 0 and depth[-1] == 0)
                turned = [n for n, letter in enumerate(text) if letter in "\u05d0\u202e\u0645"]
                assert all(depth[n] for n in turned), (node.tag, text)
                seen |= {node.tag} if turned else set()
    assert {"figcaption", "p", "td", "th", "dd", "img", "bdi"} <= seen or "\u2066" in name  # of which nothing is left


def test_pages_of_variants_whose_names_look_alike_as_files_do_not_overwrite_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(figures, "STANDARD", ())
    documents = [d for name in ("a/b", "a:b", "A:B") for d in runs(betas=(None,), seeds=1, variant=name)]
    drawn.store(tmp_path / "r", documents)
    report(tmp_path / "r", tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out/variants").iterdir())
    assert len({name.lower() for name in names}) == 3  # some file systems do not tell a from A
    assert {parse(tmp_path / "out/variants" / name).one("h1").text for name in names} == {"a/b", "a:b", "A:B"}


# ---- what a page says


def test_tables_have_captions_and_heads_that_machines_read(pages: Path):
    for page in every(pages):
        for table in parse(page).all("table"):
            assert table.one("caption").text.strip()
            heads = list(table.one("thead").all("th"))
            assert heads
            assert all(head.attrs["scope"] == "col" for head in heads)
            for row in table.one("tbody").all("tr"):
                cells = [node for node in row.children if isinstance(node, Node)]
                assert len(cells) == len(heads)
                assert [cell.tag for cell in cells] == ["th"] + ["td"] * (len(cells) - 1)
                assert cells[0].attrs["scope"] == "row"
            region = next(node for node in table.above if node.attrs.get("role") == "region")
            assert region.attrs["tabindex"] == "0"  # a table that scrolls can be scrolled by key
            assert region.attrs["aria-label"]


def test_pictures_have_words_and_their_size(pages: Path):
    for page in every(pages):
        for image in parse(page).all("img"):
            assert len(image.attrs["alt"]) > 20
            assert int(image.attrs["width"]) > 0
            assert int(image.attrs["height"]) > 0


def test_headings_follow_one_another(pages: Path):
    for page in every(pages):
        levels = [int(node.tag[1]) for node in parse(page).all() if re.fullmatch("h[1-6]", node.tag)]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(b <= a + 1 for a, b in pairwise(levels))


def test_marks_are_signs_and_words_beside_their_colours(pages: Path):
    root = parse(pages / "index.html")
    best = [cell for cell in root.all("td", class_="number") if "best" in cell.attrs["class"].split()]
    assert best
    for cell in best:
        assert cell.first("span", class_="sign").text == "★"
        assert "best" in "".join(n for s in cell.all("span", class_="unseen") for n in s.children if isinstance(n, str))


def test_why_a_number_is_missing_is_said_below_the_board(pages: Path):
    root = parse(pages / "index.html")
    board = next(board for board in root.all("table", class_="board") if "digits" in board.one("caption").text)
    row = next(row for row in board.one("tbody").all("tr") if row.one("a", class_="name").text == "ae")
    heads = [head.attrs.get("data-m") for head in board.one("thead").all("th")]
    cells = [cell for cell in row.children if isinstance(cell, Node)]
    missing = cells[heads.index("kl")]
    assert missing.attrs["data-v"] == ""
    assert "–" in missing.text
    (key,) = missing.all("a")
    note = root.one("li", id=key.attrs["href"].removeprefix("#"))
    assert "not offered by this variant" in note.text


def test_failures_stand_on_the_page_and_on_that_of_their_variant(pages: Path):
    index, vae, ae = (parse(pages / name) for name in ("index.html", "variants/vae.html", "variants/ae.html"))
    assert "26 of 26" not in index.one("body").text
    assert "25 of 26 runs ended well, 1 did not" in index.one("p", class_="status").text
    for root in (index, vae):
        (row,) = root.one("table", id="failed").one("tbody").all("tr")
        assert "loss is nan" in row.text
    assert "Traceback: <module>" in vae.one("section", id="failures").text
    assert "None: every run ended well." in ae.one("section", id="failures").text


def test_a_known_variant_has_its_formula_and_one_of_the_user_s_own_says_so(pages: Path, tmp_path: Path):
    vae = parse(pages / "variants/vae.html")
    assert "L = C(x, D(z)) + β KL(q(z|x)" in vae.one("pre", class_="formula").text
    assert "Kingma and Welling" in vae.text
    drawn.store(tmp_path / "r", runs(variant="mine.py:MINE"))
    report(tmp_path / "r", tmp_path / "out")
    mine = parse(tmp_path / "out/variants/mine.py-MINE.html")
    assert "A variant of the user's own" in mine.text
    assert not list(mine.all("pre", class_="formula"))
    drawn.store(tmp_path / "d", runs(variant="digits"))  # the name of a data set explains no variant
    report(tmp_path / "d", tmp_path / "out2")
    assert "A variant of the user's own" in parse(tmp_path / "out2/variants/digits.html").text


def test_empty_states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(figures, "STANDARD", ())
    drawn.store(tmp_path / "none", [], ids=["0" * 16])
    root = parse(report(tmp_path / "none", tmp_path / "a"))
    assert "0 of 1 runs ended well, 1 is still to be run." in root.text
    assert "nothing to show yet" in root.text
    assert not list(root.all("table"))
    drawn.store(tmp_path / "bad", runs(status="failed"))
    root = parse(report(tmp_path / "bad", tmp_path / "b"))
    assert "nothing to show yet" in root.text
    assert len(list(root.one("table", id="failed").one("tbody").all("tr"))) == 10
    drawn.store(tmp_path / "one", runs(seeds=1))
    root = parse(report(tmp_path / "one", tmp_path / "c"))
    assert not list(root.all("td", class_="best"))
    assert "carry no mark and no claim" in root.text


def test_the_same_results_give_the_same_pages(pages: Path, tmp_path: Path):
    report(pages.parent / "results", tmp_path / "again")
    assert [path.read_bytes() for path in every(pages)] == [path.read_bytes() for path in every(tmp_path / "again")]


# ---- colours


def colours() -> dict[str, dict[str, str]]:
    """The colours of each look: light, dark and print."""
    blocks = {
        "light": re.search(r"^:root \{(.*?)\}", CSS, re.DOTALL | re.MULTILINE),
        "dark": re.search(r"prefers-color-scheme: dark\) \{\s*:root \{(.*?)\}", CSS, re.DOTALL),
        "print": re.search(r"@media print \{\s*:root \{(.*?)\}", CSS, re.DOTALL),
    }
    found = {}
    for name, block in blocks.items():
        assert block is not None
        found[name] = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{3,6});", block[1]))
    return {name: found["light"] | own for name, own in found.items()}


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2.1."""
    digits = colour.lstrip("#")
    digits = "".join(2 * d for d in digits) if len(digits) == 3 else digits
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_the_contrast_of_known_colours():
    assert contrast("#000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


TEXT = [
    ("ink", "paper"), ("ink", "raised"), ("soft", "paper"), ("soft", "raised"), ("link", "paper"), ("link", "raised"),
    ("best-ink", "best"), ("link", "best"), ("ink", "tied"), ("soft", "tied"), ("link", "tied"), ("bad", "bad-paper"),
    ("paper", "ink"),
]  # fmt: skip
SHAPES = [("strong-line", "paper"), ("strong-line", "raised"), ("mark", "paper"), ("link", "paper")]


@pytest.mark.parametrize("look", ["light", "dark", "print"])
def test_text_and_shapes_stand_out(look: str):
    """AA of WCAG 2.1: 4.5 for text, 3 for the edges of controls and what a drawing is made of."""
    of = colours()[look]
    low = {f"{a} on {b}": round(contrast(of[a], of[b]), 2) for a, b in TEXT if contrast(of[a], of[b]) < 4.5}
    low |= {f"{a} on {b}": round(contrast(of[a], of[b]), 2) for a, b in SHAPES if contrast(of[a], of[b]) < 3}
    assert low == {}


def test_every_colour_of_the_style_is_one_of_these():
    """So that none escapes the check; white is the ground that figures were drawn for."""
    body = re.sub(r":root \{.*?\}", "", CSS, flags=re.DOTALL)
    assert set(re.findall(r"#[0-9a-f]{3,8}\b|rgba?\([^)]*\)|hsl\([^)]*\)", body)) <= {"#fff"}


def test_nothing_moves_for_those_who_do_not_want_it():
    moving = re.sub(r"@media \(prefers-reduced-motion: no-preference\) \{.*?\}\s*\}", "", CSS, flags=re.DOTALL)
    assert not re.search(r"animation|transition|scroll-behavior", moving)
