import re
import subprocess
import sys

import compared
import drawn
import numpy as np
import pandas as pd
import pytest

from aebench import plots, plugins
from aebench.errors import InputError
from aebench.reporting import figures, report, summaries, usual_place
from aebench.reporting.gathered import gather
from aebench.reporting.markdown import code, escape, table

FIGURES = ["beta_sweep", "curves"]


def runs(data=drawn.DIGITS, betas=(1.0, 0.1), seeds=3, **more):
    return [drawn.document(data, beta, seed, **more) for beta in betas for seed in range(seeds)]


def page(results, out, **options):
    assert report(results, out, **options) == out / "index.html"
    return (out / "report.md").read_text(encoding="utf-8")


def test_page_says_what_was_run_what_came_out_and_how_to_make_it_again(tmp_path):
    drawn.store(tmp_path / "r", runs(), figures=FIGURES, arguments=["--set", "train.steps=300"])
    text = page(tmp_path / "r", tmp_path / "out")
    for said in ("# sweep\n", "a sweep\n", "6 of 6 runs ended well.", "300 steps of 128, adam, fp32", "0, 1, 2",
                 "cpu, fp32, 2 threads", "0.1.0, commit 0123abc", "2.15.0, 3.11.7", "None: every run ended well.",
                 "aebench run sweep.yaml --set train.steps=300\n", "```yaml\na: 1\n```"):  # fmt: skip
        assert said in text
    assert " sse ↓ |" in text
    assert "| sse |  | squared units of the data per example | ↓ |" in text
    assert "±" in text
    assert "Means over seeds ± the half-width of a 95 % t interval." in text
    assert str(tmp_path) not in text
    assert "not recorded" not in text
    drawn.store(tmp_path / "r", runs(drawn.PINWHEEL))
    text = page(tmp_path / "r", tmp_path / "out")
    assert "pinwheel (evaluated on the training part)" in text
    assert "command line is not recorded" in text


def test_every_link_leads_to_a_file_and_every_picture_has_words(tmp_path):
    drawn.store(tmp_path / "r", runs() + runs(drawn.PINWHEEL), figures=FIGURES)
    text = page(tmp_path / "r", tmp_path / "out")
    links = re.findall(r"\]\(([^)#]+)\)", text)
    assert {link.partition("/")[0] for link in links} == {"index.html", "figures", "tables", "variants"}
    assert all((tmp_path / "out" / link).is_file() for link in links)
    assert {name.suffix for name in (tmp_path / "out/figures").iterdir()} == {".png", ".svg"}
    pictures = re.findall(r"!\[(.*?)\]\(figures/(.*?)\)", text)
    assert {name for _, name in pictures} >= {
        "beta_sweep-digits.png", "beta_sweep-pinwheel.png", "curves-digits-vae.png", "curves-pinwheel-vae.png"
    }  # fmt: skip
    assert all(len(alt) > 20 for alt, _ in pictures)
    on_disk = {
        f"{kind}/{file.name}"
        for kind in ("figures", "tables", "variants")
        for file in (tmp_path / "out" / kind).iterdir()
    }
    assert set(links) == {"index.html", *on_disk}
    table = pd.read_csv(tmp_path / "out/tables/summary-digits.csv")
    frame = pd.read_csv(tmp_path / "out/tables/runs.csv")
    assert len(frame) == 12
    assert table["sse_mean"][0] == pytest.approx(frame["sse"][:3].mean())
    assert {"V_low", "kl_n"} <= set(table.columns)


def test_small_things_read_well(tmp_path):
    drawn.EVENTS |= {"blobs.npy": (2,)}
    documents = runs(drawn.DIGITS | {"name": "blobs.npy"}, betas=(0.1,), made={"threads": 1})
    for d in documents:
        d["metrics"]["parameters"] = {"value": 17736.0, "unit": "numbers", "better": "lower", "version": 1}
    drawn.store(tmp_path / "r", documents, about="", figures=["curves"])
    text = page(tmp_path / "r", tmp_path / "out")
    assert text.startswith("# sweep\n\n3 of 3 runs ended well.\n")
    assert "cpu, fp32, 1 thread |" in text
    assert " 17736 |" in text
    assert "(figures/curves-blobs.png)" in text
    assert "(tables/summary-blobs.csv)" in text


def test_a_figure_that_is_not_drawn_gives_the_reason(tmp_path):
    documents = [*runs(), *runs(drawn.GAUSSIAN)]
    drawn.store(tmp_path / "r", documents, figures=["samples", "curves"])
    text = page(tmp_path / "r", tmp_path / "out")
    (line,) = [line for line in text.splitlines() if line.startswith("Nothing to draw")]
    assert line.startswith("Nothing to draw on gaussian: it shows images and points in the plane")
    drawn.store(tmp_path / "v", runs(drawn.GAUSSIAN), figures=["reconstructions"])
    text = page(tmp_path / "v", tmp_path / "out")
    assert "Nothing to draw: it shows images and points in the plane; reconstructions of other vectors" in text


def test_each_failed_run_is_named_with_its_reason(tmp_path):
    bad = [
        drawn.document(drawn.DIGITS, 0.5, 7, status="diverged", message="loss | nan\nat <step> 3"),
        drawn.document(drawn.DIGITS, 0.5, 8, status="out_of_memory"),
    ]
    drawn.store(tmp_path / "r", runs() + bad, figures=["beta_sweep"])
    text = page(tmp_path / "r", tmp_path / "out")
    assert "6 of 8 runs ended well, 2 did not" in text
    rows = [line for line in text.splitlines() if any(d["id"] in line for d in bad)]
    assert len(rows) == 2
    assert r"| digits | vae, beta 0.5 | 7 | diverged | loss \| nan at &lt;step&gt; 3 |" in rows[0]
    assert "out_of_memory" in rows[1]


def test_names_cannot_break_the_page(tmp_path):
    name = "a|b <img src=x> _c_ `d` [e](f)"
    documents = runs(drawn.DIGITS | {"name": "digits"}, variant=name)
    drawn.store(tmp_path / "r", documents, name=name, about="<script>", figures=FIGURES, text="x: ```\n")
    text = page(tmp_path / "r", tmp_path / "out")
    prose = re.sub(r"(`{3,}).*?\1", "", text, flags=re.DOTALL)
    assert "<img" not in prose
    assert "<script" not in prose
    assert "# a\\|b &lt;img src=x&gt; \\_c\\_ \\`d\\` \\[e\\](f)\n" in text
    assert "````yaml\nx: ```\n````" in text


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("beta_vae", "beta_vae"), ("__init__", r"\_\_init\_\_"), ("a|b", r"a\|b"), ("<b>&", "&lt;b&gt;&amp;"),
        ("two\n lines", "two lines"), ("1. x", r"1\. x"), ("12.5", "12.5"), ("-0.5", "-0.5"), ("- x", r"\- x"),
        ("# x", r"\# x"), ("$x$", r"\$x\$"), ("", ""), (None, "None"), (r"\*", r"\\\*"),
    ],
)  # fmt: skip
def test_escape(text, escaped):
    assert escape(text) == escaped


def test_pieces_of_markdown():
    assert table(["a", "b"], [["x|y", 1]], numbers=1) == "| a | b |\n| --- | ---: |\n| x\\|y | 1 |\n"
    assert code("a ```` b\n", "sh") == "`````sh\na ```` b\n`````\n"


def test_a_pack_is_paid_once_and_what_is_measured_again_on_top(tmp_path):
    documents = runs()
    documents[2]["cost"] = documents[2]["cost"] | {"evaluate_seconds": 0.75}
    other = drawn.document(drawn.PINWHEEL, 1.0, 0, pack="p2")
    failed = drawn.document(drawn.PINWHEEL, 0.1, 0, status="failed") | {"cost": {}}
    drawn.store(tmp_path / "r", [*documents, other, failed])
    text = page(tmp_path / "r", tmp_path / "out")
    assert "| digits | vae | 6 | 0.5 | 0.2 | 8.0 | 1.8 | – | 19,200 | 3 |" in text
    assert "| pinwheel | vae | 2 | 0.5 | 0.2 | 8.0 | 1.0 | – | 19,200 | 3 |" in text
    assert "| all |  | 8 | 1.0 | 0.5 | 16.0 | 2.8 | – | 19,200 | 3 |" in text


def test_empty_states(tmp_path):
    drawn.store(tmp_path / "none", [], ids=["0" * 16], figures=FIGURES)
    text = page(tmp_path / "none", tmp_path / "a")
    assert "0 of 1 runs ended well, 1 is still to be run." in text
    assert "nothing to show yet" in text
    drawn.store(tmp_path / "bad", runs(status="failed"), figures=FIGURES)
    text = page(tmp_path / "bad", tmp_path / "b")
    assert "nothing to show yet" in text
    assert text.count("| failed | loss is nan |") == 6
    assert not (tmp_path / "b/figures").exists()
    drawn.store(tmp_path / "ae", runs(betas=(None,), variant="ae"), figures=["beta_sweep", "samples"])
    assert page(tmp_path / "ae", tmp_path / "c").count("Nothing to draw") == 2
    for missing in ("nowhere", "a"):
        with pytest.raises(InputError, match="no results"):
            report(tmp_path / missing, tmp_path / "d")
    assert not (tmp_path / "d").exists()


def test_unreadable_documents_are_problems_on_the_page(tmp_path):
    found = drawn.store(tmp_path / "r", runs())
    (found.folder / f"{found.ids()[0]}.json").write_text("{")
    text = page(tmp_path / "r", tmp_path / "out")
    assert "## Problems" in text
    assert "broken JSON" in text
    assert "1 is still to be run" in text


def test_unknown_figure_is_refused_before_anything_is_written(tmp_path):
    drawn.store(tmp_path / "r", runs(), figures=["beta_swep"])
    with pytest.raises(InputError, match="did you mean beta_sweep"):
        report(tmp_path / "r", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    drawn.store(tmp_path / "r", runs(), figures=["aebench.plots.curves:curves"])
    with pytest.raises(InputError, match="--allow-code"):
        report(tmp_path / "r", tmp_path / "out")
    assert "curves-digits-vae.png" in page(tmp_path / "r", tmp_path / "out", allow_code=True)


def test_the_same_results_give_the_same_files_and_old_ones_go(tmp_path):
    drawn.store(tmp_path / "r", runs() + runs(drawn.PINWHEEL), figures=["rate_distortion"])
    out = tmp_path / "out"
    text = page(tmp_path / "r", out)
    files = {path: path.read_bytes() for path in out.rglob("*.*")}
    assert page(tmp_path / "r", out) == text
    assert {path: path.read_bytes() for path in out.rglob("*.*")} == files
    mine = out / "figures/mine.png"
    mine.write_bytes(b"x")
    drawn.store(tmp_path / "r", runs(), figures=["rate_distortion"])
    page(tmp_path / "r", out)
    figures = {path.name for path in (out / "figures").iterdir()}
    assert {"rate_distortion-digits.png", "rate_distortion-digits.svg", "mine.png"} <= figures
    assert not [name for name in figures if "pinwheel" in name]
    assert not list((out / "tables").glob("*pinwheel*"))
    drawn.store(tmp_path / "r", runs(variant="beta_vae"))
    page(tmp_path / "r", out)
    assert [path.name for path in (out / "variants").iterdir()] == ["beta_vae.html"]
    assert not list(out.rglob(".*"))


def test_data_sets_whose_names_look_alike_as_files_do_not_overwrite_each_other(tmp_path):
    drawn.EVENTS |= {"a b": (2,), "a-b": (2,)}
    documents = [d for name in ("a b", "a-b") for d in runs(drawn.DIGITS | {"name": name})]
    drawn.store(tmp_path / "r", documents, figures=["beta_sweep"])
    text = page(tmp_path / "r", tmp_path / "out")
    assert "(figures/beta_sweep-a-b.png)" in text
    assert "(figures/beta_sweep-a-b-1.png)" in text
    assert "(tables/summary-a-b-1.csv)" in text


def test_torch_is_not_imported(tmp_path):
    drawn.store(tmp_path / "r", runs(seeds=1), figures=["rate_distortion"])
    program = (
        "import sys; from aebench.reporting import report; report(sys.argv[1], sys.argv[2]);"
        "assert not {'torch', 'matplotlib.pyplot'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, tmp_path / "r", tmp_path / "out"], check=True)


# ---- tables


def test_tables_are_there_for_programs_and_for_papers(tmp_path):
    pytest.importorskip("pyarrow")
    drawn.store(tmp_path / "r", runs() + runs(drawn.PINWHEEL))
    page(tmp_path / "r", tmp_path / "out")
    folder = tmp_path / "out/tables"
    assert {path.name for path in folder.iterdir()} == {
        "runs.csv", "runs.parquet", *(f"summary-{data}.{ending}" for data in ("digits", "pinwheel")
                                      for ending in ("csv", "parquet", "tex")),
    }  # fmt: skip
    for name in ("runs", "summary-digits"):
        csv, parquet = pd.read_csv(folder / f"{name}.csv"), pd.read_parquet(folder / f"{name}.parquet")
        assert set(parquet) <= set(csv)
        assert csv["V_mean" if "summary" in name else "V"].to_numpy() == pytest.approx(
            parquet["V_mean" if "summary" in name else "V"].to_numpy()
        )
    latex = (folder / "summary-digits.tex").read_text()
    assert r"\toprule" in latex
    assert "sse" in latex


def test_without_pyarrow_there_is_no_parquet_and_no_link_to_it(tmp_path, monkeypatch):
    monkeypatch.setattr(summaries, "find_spec", lambda name: None)
    drawn.store(tmp_path / "r", runs())
    assert "parquet" not in page(tmp_path / "r", tmp_path / "out").lower()
    assert not list((tmp_path / "out").rglob("*.parquet"))


# ---- several folders


def folders(tmp_path, *suites):
    for name, documents in suites:
        drawn.store(tmp_path / name, documents, name=name, about=f"about {name}", text=f"name: {name}\n")
    return [tmp_path / name for name, _ in suites]


def test_folders_of_one_budget_stand_side_by_side_and_a_run_in_two_counts_once(tmp_path):
    mine, both = runs(betas=(None,), variant="mine.py:MINE"), runs(betas=(1.0,))
    results = folders(tmp_path, ("mine", mine + both), ("reference", both + runs(betas=(0.1,))))
    text = page(results, tmp_path / "out")
    assert text.startswith("# mine and reference\n\nabout mine\n\nabout reference\n\n9 of 9 runs ended well.\n")
    frame = pd.read_csv(tmp_path / "out/tables/runs.csv")
    assert sorted(frame["id"]) == sorted(d["id"] for d in mine + both + runs(betas=(0.1,)))
    for said in ("aebench run mine.yaml\n", "aebench run reference.yaml\n", "name: mine\n", "name: reference\n"):
        assert said in text
    assert "mine.py:MINE" in text  # from documents alone: its code is not asked for


def test_of_a_run_in_two_folders_the_one_that_ended_well_is_taken(tmp_path):
    (failed,), (good,) = runs(betas=(1.0,), seeds=1, status="failed"), runs(betas=(1.0,), seeds=1)
    assert failed["id"] == good["id"]
    for order in ((failed, good), (good, failed)):
        results = folders(tmp_path, ("a", [order[0]]), ("b", [order[1]]))
        assert "1 of 1 runs ended well." in page(results, tmp_path / "out")


def test_folders_of_another_budget_are_refused_in_one_line_before_anything_is_written(tmp_path):
    others = runs(betas=(None,), variant="ae")
    for document in others:
        document["spec"]["train"]["steps"] = 7
    results = folders(tmp_path, ("mine", others), ("reference", runs()))
    with pytest.raises(InputError, match=r"steps is 7 in .*mine and 300 in .*reference") as error:
        report(results, tmp_path / "out")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_folder_of_folders_is_refused_with_their_names(tmp_path):
    folders(tmp_path / "results", ("b", runs()), ("a", runs()))
    with pytest.raises(InputError, match="name one of its folders: a, b"):
        report(tmp_path / "results", tmp_path / "out")
    with pytest.raises(InputError, match="name at least one folder"):
        report([], tmp_path / "out")


def test_the_usual_place_of_a_report(tmp_path):
    mine, other = tmp_path / "results/mine", tmp_path / "elsewhere/standard"
    assert usual_place([mine]) == tmp_path / "reports/mine"
    assert usual_place([mine, other]) == tmp_path / "reports/mine+standard"
    assert usual_place([tmp_path / "results/reference/cpu/mine"]) == tmp_path / "reports/reference/cpu/mine"
    assert usual_place([other]) == other / "report"
    assert usual_place([other, mine]) == other / "report-standard+mine"


# ---- which figures


def test_a_large_comparison_shows_one_of_each_figure_and_says_what_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "WORK", 1)
    drawn.store(tmp_path / "r", runs() + runs(drawn.PINWHEEL), figures=["curves"])
    text = page(tmp_path / "r", tmp_path / "out")
    names = {path.stem for path in (tmp_path / "out/figures").iterdir()}
    assert {"curves-digits-vae", "rate_distortion-digits"} <= names
    assert not any("pinwheel" in name for name in names)
    (rates,) = re.findall(r"(?s)### Rate and distortion\n(.*?)\n##", text)
    assert "Left out on pinwheel: this comparison is large, and aebench report --all-figures draws all of it." in rates
    assert "Further drawings" not in rates  # one data set is one drawing
    text = page(tmp_path / "r", tmp_path / "out", all_figures=True)
    assert {"curves-pinwheel-vae", "rate_distortion-pinwheel"} <= {
        path.stem for path in (tmp_path / "out/figures").iterdir()
    }
    assert "--all-figures" not in text


def test_what_is_left_out_of_a_figure_is_said_below_it_and_ranks_come_before_second_pages(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "WORK", 1)
    drawn.EVENTS |= {"d0": (2,), "d1": (2,)}
    documents = [
        run for data in ("d0", "d1") for k in range(50)
        for run in compared.runs(f"m.py:V{k:02d}", {"sse": [k + 1.0, k + 1.1, k + 1.2, k + 1.3]}, data=data)
    ]  # fmt: skip
    drawn.store(tmp_path / "r", documents)
    text = page(tmp_path / "r", tmp_path / "out")
    names = {path.stem for path in (tmp_path / "out/figures").iterdir()}
    assert {"comparison-d0-sse-1", "ranks-1"} <= names
    assert not {"comparison-d0-sse-2", "comparison-d1-sse-1", "ranks-2"} & names
    differences, ranks = (text.partition(f"### {title}\n")[2].partition("\n##")[0] for title in
                          ("Differences from the best", "Mean ranks"))  # fmt: skip
    further = "are left out: this comparison is large"
    assert f"Further drawings on d0 {further}" in differences
    assert "Left out on d1: this comparison is large" in differences
    assert f"Further drawings {further}" in ranks
    text = page(tmp_path / "r", tmp_path / "out", all_figures=True)
    assert {"comparison-d1-sse-2", "ranks-2"} <= {path.stem for path in (tmp_path / "out/figures").iterdir()}
    assert "Further drawings" not in text


def test_the_markdown_has_the_marks_and_notes_of_the_leaderboards(tmp_path):
    """Somebody who reads it sees who is not ranked, and why, as on the page."""
    base = np.array([10.0, 10.4, 9.7, 10.2, 9.9, 10.1])
    documents = compared.runs("ae", "sse", base) + compared.runs("deep_ae", "sse", base[::-1])
    documents += compared.runs("pca", {"sse": base + 3, "kl": base}) + compared.runs("tied_ae", "sse", base - 4)
    for document in documents[-2:]:
        document |= {"status": "diverged", "error": {"kind": "diverged", "message": "loss is nan", "traceback": ""}}
    drawn.store(tmp_path / "r", documents)
    text = page(tmp_path / "r", tmp_path / "out")
    assert "★ best; ≈ not distinguishable from the best." in text
    rows = {line.split(" | ")[0].strip("| "): line for line in text.splitlines() if line.startswith("| ")}
    assert rows["ae"].split(" | ")[1].startswith("★ 10.0")
    assert rows["deep_ae"].split(" | ")[1].startswith("≈ 10.0")
    assert not {"★", "≈"} & {*rows["pca"]}
    count, _, key = rows["tied_ae"].split(" | ")[1].partition("(")[2].rstrip("|) ").partition("; ")
    assert count == "4/6"
    assert f"- **{key}**: 2 of 6 failed: diverged\n" in text
    assert "Settings with runs that failed are not ranked, as a mean of the rest would flatter them: tied_ae" in text


def test_names_from_right_to_left_are_isolated_in_markdown_and_commands_are_not(tmp_path):
    name = "\u05d0\u05d1\u202e\u05d2 abc"
    drawn.EVENTS[name] = (1, 8, 8)
    drawn.store(tmp_path / "r", runs(drawn.DIGITS | {"name": name}), name=name, text=f"name: {name}\n", arguments=[])
    text = page(tmp_path / "r", tmp_path / "out")
    prose = re.sub(r"(`{3,}).*?\1", "", text, flags=re.DOTALL)
    assert f"\u2068{name}\u2069" in prose
    assert prose.count(name) == prose.count(f"\u2068{name}\u2069")
    assert "\u2068" not in "".join(re.findall(r"(?s)`{3,}.*?`{3,}", text))
    assert "\u2068" not in page(folders(tmp_path, ("plain", runs())), tmp_path / "plain_out")


@pytest.mark.parametrize("name", sorted({*plots.FIGURES} - figures.ACROSS))
def test_figures_of_one_data_set_at_a_time_are_those_of_all_together(tmp_path, name):
    """But for names of figures, which the report makes unique."""
    documents = [*runs(), *runs(drawn.PINWHEEL), *runs(betas=(None,), variant="ae")]
    found = drawn.store(tmp_path / "r", [*documents, *runs(drawn.PINWHEEL, betas=(None,), variant="pca")])
    gathered = gather(found.folder)
    frame = plots.with_documents(gathered.frame, gathered.documents)
    function = plugins.resolve(plots.FIGURES, "figures", name)
    together = list(function(frame, gathered.arrays))
    alone = [d for data in ("digits", "pinwheel") for d in function(frame[frame["data"] == data], gathered.arrays)]
    assert [(d.caption, d.alt, d.data) for d in alone] == [(d.caption, d.alt, d.data) for d in together]
    assert all(drawing.data for drawing in together)


def test_figures_of_one_run_a_setting_are_given_the_lowest_seed_that_ended_well(tmp_path, monkeypatch):
    documents = runs(seeds=4)
    documents[0] |= {"status": "failed", "metrics": {}, "error": {"kind": "ValueError", "message": "no"}}
    seen = {}

    def spy(frame, arrays):
        seen["rows"] = list(zip(frame["beta"], frame["seed"], strict=True))
        yield from ()

    monkeypatch.setattr("aebench.plots.pictures.samples", spy)
    drawn.store(tmp_path / "r", documents[::-1])
    page(tmp_path / "r", tmp_path / "out")
    assert sorted(seen["rows"]) == [(0.1, 0), (1.0, 1)]


# ---- a tuned suite


def test_of_a_tuned_suite_the_chosen_draws_are_compared_and_every_draw_stands_on_the_page_of_its_variant(tmp_path):
    documents = runs(betas=(1.0, 0.1), seeds=4)
    for document in documents:
        beta, seed = document["spec"]["hyper"]["beta"], document["spec"]["seed"]
        # the worse draw on test is the better on validation: the choice knows validation alone
        for name, value in (("sse", beta), ("validation_sse", 2 - beta)):
            document["metrics"][name] = {"value": value + 0.01 * seed, "unit": "u", "better": "lower", "version": 1}
    ids = {beta: [d["id"] for d in documents if d["spec"]["hyper"]["beta"] == beta] for beta in (1.0, 0.1)}
    group = {
        "variant": "vae", "fields": {"beta": {"uniform": [0.0, 2.0]}}, "swept": {},
        "draws": [{"values": {"beta": beta}, "ids": own} for beta, own in ids.items()],
    }  # fmt: skip
    tune = {"draws": 2, "metric": "sse", "better": "lower", "groups": [group]}
    drawn.store(tmp_path / "r", documents, tune=tune)
    text = page(tmp_path / "r", tmp_path / "out")
    (line,) = [line for line in text.splitlines() if line.startswith("| vae | digits | beta 1 ")]
    assert line.split(" | ")[4:7] == ["2", "1.015 ± 0.021", "1.015 ± 0.021"]
    frame = pd.read_csv(tmp_path / "out/tables/runs.csv")
    assert sorted(frame["id"]) == sorted(ids[1.0])
    assert "8 of 8 runs ended well." in text
    vae = (tmp_path / "out/variants/vae.html").read_text()
    assert all(document["id"] in vae for document in documents)
    assert vae.count("vae, beta 0.1 (not chosen)") == 4
