import io
import json
import math

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from synthetic import document

from aebench import stats
from aebench.errors import InputError
from aebench.store.frame import from_documents
from aebench.tables import format_interval, format_number, pivot, render, summary, to_terminal
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
    with pytest.raises(InputError, match="differ in beta"):
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
        "kl [nats per example]: mean ± half-width of the 95 % t interval over 3 seeds\n"
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


def test_names_do_not_break_a_markdown_table(frame):
    frame["variant"] = frame["variant"].replace("ae", "a|b\n<i>")
    lines = render(summary(frame), "md").splitlines()
    assert "a\\|b &lt;i>" in lines[2]
    assert len({line.replace("\\|", "").count("|") for line in lines[:10]}) == 1


def test_ids_stay_text(frame):
    frame["id"] = "12e4567890123456"
    assert render(frame, "md").count("12e4567890123456") == len(frame)


def test_latex(frame):
    text = render(summary(frame, metrics="active_units"), "latex")
    assert "active\\_units" in text
    assert "8 $\\pm$ 0" in text
    assert text.startswith("% mean ±")
    assert not set("±–↓∞") & set(text.partition("\\begin")[2])


def test_csv_and_json_keep_every_digit(frame):
    table = summary(frame)
    back = pd.read_csv(io.StringIO(render(table, "csv")))
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


def test_a_terminal_table_fits(frame):
    for width in (100, 200):
        assert max(map(len, printed(summary(frame), width).splitlines())) <= 100
    narrow = printed(summary(frame), 60)
    assert max(map(len, narrow.splitlines())) <= 60
    assert "sse ↓" in narrow
    assert "not shown: " in narrow


def test_chosen_metrics_come_in_their_order(frame):
    text = printed(summary(frame, metrics=["active_units", "sse"]))
    assert 0 < text.index("active_") < text.index("sse ↓")


def test_a_name_is_not_markup(frame):
    frame["variant"] = frame["variant"].replace("ae", "[red]ae[/red]")
    assert "[red]ae[/red]" in printed(summary(frame))


def test_a_terminal_shows_frames_and_pivots(frame):
    assert frame["id"].iloc[0] in printed(frame)
    assert "300 (1/3)" in printed(pivot(frame, ["variant", "beta"], "data", "kl"))
