import io
import json
import math
import re

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from synthetic import document

from aebench import stats
from aebench.errors import InputError
from aebench.store.frame import from_documents
from aebench.tables import format_interval, format_number, pivot, render, runs, summary, to_terminal
from aebench.tables.numbers import format_settings

BETAS = (1.0, 0.316227766017, 0.1)


def run(variant, beta, seed, data="digits", *, status="ok", offset=0.0, **changes):
    values = {"sse": 2 + offset + seed / 10, "kl": None if variant == "ae" else 30 * offset + seed, "active_units": 8.0}
    hyper = {} if beta is None else {"beta": beta}
    return document(
        variant=variant, hyper=hyper, seed=seed, data={"name": data}, status=status,
        values=values if status == "ok" else {}, **changes,
    )  # fmt: skip


@pytest.fixture
def frame():
    """Two datasets, an ae and a vae of three β, three seeds; two runs of the last setting failed."""
    runs = [run("ae", None, seed, data) for data in ("pinwheel", "digits") for seed in range(3)]
    for data in ("pinwheel", "digits"):
        for beta in BETAS:
            bad = data == "digits" and beta == 0.1
            runs += [run("vae", beta, 0, data, offset=1 / beta)]
            runs += [run("vae", beta, s, data, offset=1 / beta, status="diverged" if bad else "ok") for s in (1, 2)]
    return from_documents(runs)


def printed(table, width=100):
    console = Console(width=width, file=io.StringIO())
    to_terminal(table, console)
    return console.file.getvalue()


# ---- numbers


@pytest.mark.parametrize(
    ("mean", "half", "text"),
    [
        (0.012345, 0.00056, "0.0123 ± 0.0006"),
        (0.012345, 0.00012, "0.01235 ± 0.00012"),
        (21.3, 0.0996, "21.30 ± 0.10"),
        (9.31, 0.096, "9.31 ± 0.10"),
        (9.31, 0.094, "9.31 ± 0.09"),
        (384213.7, 12345, "384000 ± 12000"),
        (384213.7, 5, "384214 ± 5"),
        (-3.14159, 0.02, "-3.142 ± 0.020"),
        (-0.001, 1.2, "0.0 ± 1.2"),
        (0, 0.5, "0.0 ± 0.5"),
        (8, 0, "8 ± 0"),
        (0.1, 1e-18, "0.1 ± 0"),
        (1.234e-7, 5e-9, "(1.23 ± 0.05)e-07"),
        (2.5e9, 1.5e8, "(2.50 ± 0.15)e+09"),
        (1.0, 1e-9, "1 ± 1e-09"),
        (math.nan, math.nan, "–"),
        (0.012345, math.nan, "0.01235"),
    ],
)
def test_format_interval(mean, half, text):
    assert format_interval(mean, mean - half, mean + half) == text


def test_an_interval_that_is_not_symmetric_shows_its_bounds():
    assert format_interval(1.0, 0.9, 1.35) == "1.00 [0.90, 1.35]"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.00012346, "0.0001235"), (5.0, "5"), (12345678, "12345678"), (38421.3, "38421"), (1.5e-9, "1.5e-09"),
     (2e12, "2e+12"), (math.inf, "∞"), (-math.inf, "-∞"), (math.nan, "–")],
)  # fmt: skip
def test_format_number(value, text):
    assert format_number(value) == text


def test_settings_are_as_short_as_keeps_them_apart():
    assert format_settings([0.316227766017, 0.1, math.nan]) == ["0.3162", "0.1", "–"]
    assert format_settings([0.316227766017, 0.3162]) == ["0.316228", "0.3162"]
    assert format_settings([1e-3, "{}", None, 8]) == ["0.001", "{}", "–", "8"]


# ---- summary


def test_summary_is_the_interval_over_the_seeds_of_each_setting(frame):
    table = summary(frame, level=0.9)
    assert list(table.columns[:5]) == ["variant", "data", "beta", "runs", "failed"]
    assert len(table) == 8
    for row in table.itertuples():
        same = frame[(frame.variant == row.variant) & (frame.data == row.data)]
        same = same[same.beta.isna() if math.isnan(row.beta) else same.beta == row.beta]
        interval = stats.mean_interval(same.sse, 0.9, missing="drop")
        found = [row.sse_mean, row.sse_low, row.sse_high, row.sse_n]
        np.testing.assert_allclose(found, [interval.mean, interval.low, interval.high, interval.n], equal_nan=True)
    assert table["failed"].tolist() == [0, 0, 0, 0, 0, 0, 0, 2]
    assert table["sse_n"].tolist() == [3, 3, 3, 3, 3, 3, 3, 1]
    assert table["kl_n"].tolist()[:2] == [0, 0]


def test_what_is_counted_has_no_interval_unless_it_differs():
    def counted(*sizes):
        runs = [document(seed=seed, values={"parameters": n, "active_units": 8.0}) for seed, n in enumerate(sizes)]
        return summary(from_documents(runs))

    table = counted(17736.0, 17736.0)
    assert table[["parameters_mean", "parameters_n"]].to_numpy().tolist() == [[17736, 2]]
    text = render(table, "md")
    assert " 17736 |" in text
    assert " 8 ± 0 |" in text
    assert " 11 ± 13 |" in render(counted(10.0, 12.0), "md")


def test_rows_and_metrics_are_chosen(frame):
    table = summary(frame[frame.variant == "ae"], rows="data", metrics="sse")
    assert list(table.columns) == ["data", "runs", "failed", "sse_mean", "sse_low", "sse_high", "sse_n"]
    assert table["data"].tolist() == ["pinwheel", "digits"]
    by_weight = summary(frame[frame.variant == "vae"], rows=["kl_weight", "data"], metrics=["sse", "kl"])
    assert by_weight["kl_weight"].tolist() == [*BETAS, *BETAS]


def test_different_settings_are_not_averaged(frame):
    with pytest.raises(InputError, match="rows by variant would average over runs that differ in data, beta"):
        summary(frame, rows="variant")
    with pytest.raises(InputError, match=r"by variant, data would .* differ in beta: name these too \(--rows beta\)"):
        pivot(frame, "variant", "data", "sse")
    other = from_documents([run("vae", 1.0, 0), run("vae", 1.0, 1, train={"precision": "bf16"})])
    with pytest.raises(InputError, match="differ in precision"):
        summary(other, rows="variant")
    assert len(summary(other)) == 2


def test_a_seed_counts_once(frame):
    twice = pd.concat([frame, frame])
    twice.attrs = frame.attrs
    with pytest.raises(InputError, match="stands in the frame twice"):
        summary(twice)


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda f: summary(f, rows="varient"), r"unknown column 'varient': did you mean variant"),
        (lambda f: summary(f, metrics=["sse", "active_unit"]), r"unknown metric value 'active_unit': did you mean act"),
        (lambda f: summary(f, rows="seed"), "unknown column 'seed'"),
        (lambda f: summary(f, rows=[]), "name at least one column"),
        (lambda f: pivot(f, "variant", "betta", "sse"), "did you mean beta"),
        (lambda f: pivot(f, "variant", "variant", "sse"), "both a row and a column"),
        (lambda f: render(f, "html"), "unknown format 'html'"),
        (lambda f: summary(f, level=95), "level 95"),
        (lambda f: summary(pd.DataFrame(f.to_dict("list"))), "take it from aebench.load"),
    ],
)
def test_bad_names_are_one_line(frame, call, line):
    with pytest.raises(InputError, match=line):
        call(frame)


def test_scheduled_settings_are_settings():
    schedule = {"points": [[0.0, 0.0], [1.0, 4.0]], "kind": "linear"}
    table = summary(from_documents([run("vae", beta, seed) for beta in (schedule, 4.0) for seed in (0, 1)]))
    assert table["beta"].tolist() == ["0→4@1 linear", 4.0]
    assert table["sse_n"].tolist() == [2, 2]


# ---- pivot


def test_pivot(frame):
    table = pivot(frame, ["variant", "beta"], "data", "kl")
    assert render(table, "md") == (
        "| variant   |   beta |    pinwheel |     digits |\n"
        "|:----------|-------:|------------:|-----------:|\n"
        "| ae        |      – |           – |          – |\n"
        "| vae       |      1 |  31.0 ± 2.5 | 31.0 ± 2.5 |\n"
        "| vae       | 0.3162 |  95.9 ± 2.5 | 95.9 ± 2.5 |\n"
        "| vae       |    0.1 | 301.0 ± 2.5 |  300 (1/3) |\n"
        "\n"
        "kl \\[nats per example\\]: mean ± half-width of the 95 % t interval over 3 seeds\n"
        "\n"
        "all runs: suite beta_sweep, network mlp 64-64, latent 8, reconstruction mse, lr 0.001, steps 3000, batch 128\n"
    )


def test_a_setting_that_was_not_run_is_shown(frame):
    table = pivot(frame[(frame.data == "digits") | (frame.variant == "ae")], "data", ["variant", "beta"], "sse")
    assert list(table.columns) == ["data", "ae", "vae, beta=1", "vae, beta=0.3162", "vae, beta=0.1"]
    assert table.iloc[0].tolist() == ["pinwheel", "2.10 ± 0.25", "–", "–", "–"]
    assert table.iloc[1, -1] == "12 (1/3)"


def test_all_failed_is_shown():
    frame = from_documents([run("ae", None, 0), *(run("vae", 1.0, s, status="failed") for s in range(2))])
    assert pivot(frame, "variant", "data", "sse")["digits"].tolist() == ["2", "– (0/2)"]


def test_rows_that_are_not_named_are_all_that_vary(frame):
    pd.testing.assert_frame_equal(pivot(frame, None, "data", "kl"), pivot(frame, ["variant", "beta"], "data", "kl"))


def test_columns_of_a_number_rise(frame):
    table = pivot(frame[frame.variant == "vae"], "data", "beta", "sse")
    assert list(table.columns) == ["data", "beta=0.1", "beta=0.3162", "beta=1"]
    assert table.iloc[0].tolist() == ["pinwheel", "12.10 ± 0.25", "5.26 ± 0.25", "3.10 ± 0.25"]


# ---- runs


def test_a_row_a_run(frame):
    table = runs(frame)
    assert list(table.columns) == [
        "id", "variant", "data", "beta", "seed", "status", *frame.attrs["values"], "error",
    ]  # fmt: skip
    assert table["id"].tolist() == frame["id"].tolist()
    assert table["sse"].equals(frame["sse"])
    well = frame[frame.status == "ok"]
    assert list(runs(well, "data", "sse").columns) == ["id", "data", "seed", "status", "sse"]
    with pytest.raises(InputError, match="did you mean sse"):
        runs(frame, None, "ssee")
    assert json.loads(render(table, "json"))["values"]["sse"]["better"] == "lower"


# ---- render


def test_markdown_of_a_summary(frame):
    table = summary(frame[frame.data == "digits"], metrics=["sse", "active_units"])
    text = render(table, "md")
    assert text.splitlines()[:6] == [
        "| variant   |   beta |   failed |       sse ↓ |   active_units |",
        "|:----------|-------:|---------:|------------:|---------------:|",
        "| ae        |      – |        0 | 2.10 ± 0.25 |          8 ± 0 |",
        "| vae       |      1 |        0 | 3.10 ± 0.25 |          8 ± 0 |",
        "| vae       | 0.3162 |        0 | 5.26 ± 0.25 |          8 ± 0 |",
        "| vae       |    0.1 |        2 |          12 |              8 |",
    ]
    assert "sse: squared units of the data per example; active_units: units" in text


def test_copies_of_a_closed_form_have_no_interval(frame):
    """pca gives one number whatever the seed; three equal losses of a trained net are three measurements."""
    frame["sse"] = 1.5
    frame["variant"] = frame["variant"].replace("ae", "pca")
    table = summary(frame, metrics=["sse"])
    closed = table["variant"] == "pca"
    assert closed.any()
    assert table["sse_low"][closed].isna().all()
    assert (table["sse_low"][~closed] == 1.5).any()


def test_names_do_not_break_a_markdown_table(frame):
    frame["variant"] = frame["variant"].replace("ae", "a|b\n<i>")
    lines = render(summary(frame), "md").splitlines()
    assert "a\\|b &lt;i&gt;" in lines[2]
    assert len({line.replace("\\|", "").count("|") for line in lines[:10]}) == 1


def test_names_are_no_markup_in_markdown_and_no_lines_in_heads(frame):
    frame["variant"] = frame["variant"].replace("ae", "*a*[x](b)")
    assert "\\*a\\*\\[x\\](b)" in render(summary(frame), "md")
    frame["data"] = frame["data"].replace("pinwheel", "pin\nwheel")
    assert "pin wheel" in render(pivot(frame, ["variant", "beta"], ["data"], "sse"), "md").splitlines()[0]


def test_ids_stay_text(frame):
    frame["id"] = "12e4567890123456"
    assert render(frame, "md").count("12e4567890123456") == len(frame)


def test_a_minus_is_no_hyphen_in_latex(frame):
    frame["sse"] = -frame["sse"]
    text = render(summary(frame, metrics=["sse"]), "latex")
    assert "$-$2.10 $\\pm$ 0.25" in text
    assert " -2" not in text


def test_latex(frame):
    text = render(summary(frame, metrics="active_units"), "latex")
    assert "active\\_units" in text
    assert "8 $\\pm$ 0" in text
    assert text.startswith("% mean ±")
    assert "% active_units: units" in text.splitlines()


def test_latex_has_no_character_that_needs_a_package(frame):
    """Of 7 bits alone, specials escaped, as many cells in each row as the head declares."""
    schedule = {"points": [[0.0, 0.0], [1.0, 4.0]], "kind": "linear"}
    odd = from_documents([run("vae", beta, s, data="50%_#1&2") for beta in (schedule, 0.0, 1e-9) for s in (0, 1)])
    for table in (summary(odd, metrics=["sse", "kl"]), pivot(frame, None, "data", "kl"), runs(odd)):
        text = render(table, "latex")
        body = text[text.index("\\begin{tabular}") :]
        assert body.isascii()
        lines = [line for line in body.splitlines() if line.endswith("\\\\")]
        cells = {len(re.findall(r"(?<!\\)&", line)) + 1 for line in lines}
        assert cells == {len(re.search(r"tabular\}\{([lr]+)\}", body).group(1))}
        assert re.search(r"(?<!\\)[%#_]", body) is None
        assert all(line.startswith("%") for line in text[: text.index("\\begin{tabular}")].splitlines())
    assert "50\\%\\_\\#1\\&2" in render(pivot(odd, "beta", "data", "kl"), "latex")


def test_csv_and_json_keep_every_digit(frame):
    table = summary(frame)
    back = pd.read_csv(io.StringIO(render(table, "csv")))
    units = {f"{name}_unit": about["unit"] for name, about in table.attrs["values"].items()}
    assert {name: set(back.pop(name)) for name in units} == {name: {unit} for name, unit in units.items()}
    pd.testing.assert_frame_equal(back, table, check_dtype=False, rtol=1e-15)
    tree = json.loads(render(table, "json"))
    assert (tree["level"], tree["values"]["sse"]["better"]) == (0.95, "lower")
    assert [row["sse_mean"] for row in tree["rows"]] == table["sse_mean"].tolist()
    assert tree["rows"][0]["kl_mean"] is None
    assert len(json.loads(render(frame, "json"))["rows"]) == len(frame)


def test_parquet(frame):
    pyarrow = pytest.importorskip("pyarrow")
    assert pyarrow
    back = pd.read_parquet(io.BytesIO(render(summary(frame), "parquet")))
    assert back["sse_mean"].tolist() == summary(frame)["sse_mean"].tolist()
    attrs = pd.read_parquet(io.BytesIO(render(summary(frame), "parquet"))).attrs
    assert (attrs["values"], attrs["level"]) == (summary(frame).attrs["values"], 0.95)
    whole = pd.read_parquet(io.BytesIO(render(frame, "parquet")))
    numbers = [name for name in frame if pd.api.types.is_numeric_dtype(frame[name])]
    pd.testing.assert_frame_equal(whole[numbers], frame[numbers])
    mixed = from_documents([run("vae", {"points": [[0.0, 1.0]], "kind": "step"}, 0), run("vae", 1.0, 0)])
    assert pd.read_parquet(io.BytesIO(render(mixed, "parquet")))["beta"].tolist()[1] == "1.0"


def test_parquet_without_its_package_is_one_line(frame, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(InputError, match="parquet needs the package pyarrow"):
        render(frame, "parquet")


def test_an_empty_table(frame):
    for fmt in ("md", "csv", "latex", "json", "text"):
        assert render(summary(frame)[:0], fmt)
    assert printed(summary(frame)[:0])


# ---- terminal


def test_terminal(frame):
    text = printed(summary(frame[frame.data == "digits"]))
    assert [line.rstrip() for line in text.splitlines()] == [
        "                                                  active_",
        "variant    beta  failed        sse ↓          kl    units",
        "─────────────────────────────────────────────────────────",
        "ae            –       0  2.10 ± 0.25           –    8 ± 0",
        "vae           1       0  3.10 ± 0.25  31.0 ± 2.5    8 ± 0",
        "vae      0.3162       0  5.26 ± 0.25  95.9 ± 2.5    8 ± 0",
        "vae         0.1       2           12         300        8",
        "",
        "mean ± half-width of the 95 % t interval over 3 seeds",
        "sse: squared units of the data per example; kl: nats per example; active_units: units",
        "all runs: suite beta_sweep, data digits, network mlp 64-64, latent 8, reconstruction mse, lr 0.001,",
        "steps 3000, batch 128",
        "not shown: train_seconds, train_examples_per_s, peak_bytes, flops_train_step",
    ]


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_a_terminal_table_fits(frame, width):
    for table in (summary(frame), runs(frame), pivot(frame, None, "data", "kl"), frame):
        assert max(map(len, printed(table, width).splitlines())) <= width
    text = printed(summary(frame), width)
    assert "sse ↓" in text
    assert "not shown: " in text


def test_a_wide_terminal_shows_more():
    table = summary(from_documents([document(variant=v, seed=s) for v in ("ae", "b" * 24) for s in (0, 1)]))
    assert "denoising_" in printed(table, 160).partition("not shown")[0]
    assert "denoising_" in printed(table, 60).partition("not shown")[2]


def test_a_long_name_breaks_after_an_underscore(frame):
    name = "salt_and_pepper_denoising_autoencoder"
    frame["variant"] = frame["variant"].replace("ae", name)
    parts = [line.split()[0] for line in printed(summary(frame), 80).splitlines() if line[:1].isalpha()]
    assert "".join(parts[1:3]) == name
    assert parts[1].endswith("_")


def test_columns_that_were_asked_for_go_on_below():
    """Nothing asked for is left out, in however many tables; each has the settings."""
    names = [f"a_data_set_of_a_long_name_{n}" for n in range(9)]
    frame = from_documents([run("vae", beta, s, data) for data in names for beta in BETAS for s in (0, 1)])
    text = printed(pivot(frame, None, "data", "sse"), 80)
    heads = [line for line in text.splitlines() if line.startswith("variant ")]
    assert len(heads) > 1
    assert len(re.findall(r"2\.0 ± 0\.6", text)) == len(names) * len(BETAS)
    assert "not shown" not in text
    values = ["sse", "kl", "active_units", "train_seconds", "peak_bytes", "train_examples_per_s"]
    chosen = printed(summary(frame, metrics=values), 80)
    assert chosen.count("0.3162") > len(names)
    assert "not shown: " not in chosen


def test_settings_that_some_rows_lack_share_a_column():
    kinds = {"vae": {"beta": 1.0}, "energy_vae": {"notes_beta": 4.0}, "sparse_kl_ae": {"lam": 0.1, "p": 0.05}, "ae": {}}
    kinds |= {"denoising_ae": {"sigma": 0.25}, "gaussian_vae": {"variance": 0.5}}
    frame = from_documents([document(variant=v, hyper=h, seed=s) for v, h in kinds.items() for s in (0, 1)])
    lines = printed(summary(frame, metrics=["sse", "psnr"]), 70).splitlines()
    settings = {line.split()[0]: line for line in lines if line.split()[:1] and line.split()[0] in kinds}
    assert "  lam 0.1, p 0.05 " in settings["sparse_kl_ae"]
    assert "  hyper.notes_beta 4 " in settings["energy_vae"]
    assert settings["ae"].split()[1] == "–"
    assert lines[0].split() == ["variant", "settings", "sse", "↓", "psnr", "↑"]
    wide = printed(summary(frame, metrics=["sse", "psnr"]), 120).splitlines()
    assert {"beta", "lam", "p", "sigma", "variance"} < set(" ".join(wide[:2]).split())


def test_two_suites_in_a_narrow_terminal():
    """What a suite, variant and data set tell goes first; a name is never broken to pieces."""
    runs_ = [document(suite="a_long_suite", variant="linear_vae", seed=s, sizes={"latent": 4}) for s in (0, 1)]
    runs_ += [document(suite="another_suite", seed=s, train={"steps": 100, "lr": 0.1}) for s in (0, 1)]
    text = printed(summary(from_documents(runs_)), 80)
    assert "a_long_suite   linear_vae" in text
    assert "not shown, as known from suite, variant: latent, lr, steps" in text


def test_chosen_metrics_come_in_their_order(frame):
    text = printed(summary(frame, metrics=["active_units", "sse"]))
    assert 0 < text.index("active_") < text.index("sse ↓")


def test_a_name_is_not_markup(frame):
    frame["variant"] = frame["variant"].replace("ae", "[red]ae[/red]")
    assert "[red]ae[/red]" in printed(summary(frame))


def test_a_terminal_shows_frames_and_pivots(frame):
    assert frame["id"].iloc[0] in printed(frame)
    assert "300 (1/3)" in printed(pivot(frame, ["variant", "beta"], "data", "kl"))


def test_values_of_the_validation_part_are_shown_where_they_are_asked_for():
    documents = [document(seed=seed, values={"sse": 1.0 + seed}) for seed in range(3)]
    for one in documents:
        one["validation"] = one["metrics"]
    frame = from_documents(documents)
    assert [name for name in summary(frame).attrs["metrics"] if "sse" in name] == ["sse"]
    assert summary(frame, metrics=["validation_sse"])["validation_sse_mean"].tolist() == [2.0]
