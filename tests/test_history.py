"""The history: what is appended, once and whole; what is shown of it; and where steps are told."""

from __future__ import annotations

import json
import math
import os
import subprocess
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest
from typer.testing import CliRunner

from aebench.cli import app
from aebench.cli.history import short_unit, trend
from aebench.errors import InputError
from aebench.plots.history import figures
from aebench.regress import commits, history, machine, sources
from aebench.regress.history import Entry
from aebench.regress.records import Measure, Side
from aebench.regress.sources import Source

MACHINE = {"processor": "AMD EPYC 9B14", "cores": "2", "architecture": "x86_64", "system": "Linux", "python": "3.11"}
KEY = machine.key(MACHINE)
STEP = Measure("test_a.py::step", "time", "time", "s")
OPS = Measure("test_a.py::step", "dispatched operations", "counter", "operations")
LOSS = Measure("test_a.py::step", "loss", "exact", "nats")
ELBO = Measure("vae on digits", "elbo", "quality", "nats", "higher")
NAMESAKES = [Measure("test_a.py::step", "loss", kind) for kind in ("time", "counter", "exact", "quality")]


def commit(i):
    """A hash that begins with the number."""
    return f"{i:07x}".ljust(40, "f")


def entry(i=0, measure=STEP, value=1.0):
    date = (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=i)).isoformat()
    m = measure
    return Entry(commit(i), date, KEY, m.benchmark, m.name, m.kind, m.unit, m.better, float(value), 5, date)


def line(measure, values):
    (found,) = history.series(entry(i, measure, value) for i, value in enumerate(values))
    return found


@pytest.fixture
def repository(tmp_path):
    """Two commits on known dates."""
    folder = tmp_path / "repository"
    folder.mkdir()
    for date in ("2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+00:00"):
        given = {f"GIT_{who}_NAME": "a" for who in ("AUTHOR", "COMMITTER")}
        given |= {f"GIT_{who}_EMAIL": "a@b" for who in ("AUTHOR", "COMMITTER")}
        given |= {"GIT_COMMITTER_DATE": date, "GIT_AUTHOR_DATE": date, "GIT_CONFIG_GLOBAL": os.devnull}
        for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", date]):
            subprocess.run(["git", "-C", str(folder), *words], check=True, env={**os.environ, **given})
    return folder


# ---- commits and what is added


def test_a_commit_has_its_hash_and_date(repository):
    found = commits.commit("HEAD~1", repository)
    assert found is not None
    assert datetime.fromisoformat(found.date) == datetime(2026, 1, 1, tzinfo=UTC)
    assert found == commits.commit(found.hash[:10], repository)
    assert commits.commit("nothing", repository) is None
    assert commits.commit("HEAD", repository / "..") is None
    assert commits.commit("HEAD~1..HEAD", repository) is None  # a range is no revision
    with pytest.raises(InputError, match="begins with a dash"):
        commits.commit("--output=x", repository)


def test_a_source_gives_a_line_for_each_metric(repository):
    values = {STEP: (3e-3, 1e-3, 2e-3), OPS: (412.0,), ELBO: (1.0, 2.0), LOSS: (math.nan,)}
    source = Source(Side("one", values), MACHINE, None, "2026-01-03T00:00:00+00:00")
    found = history.entries(source, "HEAD", repository)
    head = commits.commit("HEAD", repository)
    assert [(e.measure, e.value, e.n) for e in found] == [(STEP, 2e-3, 3), (OPS, 412.0, 1), (ELBO, 1.5, 2)]
    assert {(e.commit, e.date, e.machine, e.made) for e in found} == {(head.hash, head.date, KEY, source.date)}


def test_a_source_that_names_its_commit_needs_no_other(repository):
    source = Source(Side("one", {OPS: (1.0,)}), MACHINE, "f" * 40, "2026-01-03T00:00:00+00:00")
    (found,) = history.entries(source, None, repository)
    assert (found.commit, found.date) == ("f" * 40, source.date)  # not here, so that its date is not known
    with pytest.raises(InputError, match="one: it does not say of which commit it is; --commit names one"):
        history.entries(replace(source, commit=None), None, repository)
    with pytest.raises(InputError, match="--commit nothing: no commit of this repository"):
        history.entries(source, "nothing", repository)
    with pytest.raises(InputError, match="one: it holds no finite value"):
        history.entries(Source(Side("one", {OPS: (math.nan,)}), MACHINE, "f" * 40), None, repository)


def test_a_source_of_no_known_machine_is_refused(repository):
    """It would be filed under the machine that it is read on."""
    with pytest.raises(InputError, match="one: it does not say on which machine it was measured"):
        history.entries(Source(Side("one", {OPS: (1.0,)}), {}, "f" * 40), None, repository)


def test_kinds_that_share_a_name_are_all_kept(tmp_path):
    held = [entry(i, m, 10 * i + k) for i in range(2) for k, m in enumerate(NAMESAKES)]
    path, count, _ = history.add(tmp_path, held)
    assert count == 8
    assert history.add(tmp_path, held)[1] == 0
    assert history.read_file(path) == (held, [])
    found = {one.measure: one.values for one in history.read(tmp_path)[0][KEY]}
    assert found == {m: [k, 10 + k] for k, m in enumerate(NAMESAKES)}


def test_lines_are_appended_once(tmp_path):
    path, count, problems = history.add(tmp_path / "h", [entry(0), entry(0, OPS, 412)])
    assert (path, count, problems) == (tmp_path / "h" / f"{KEY}.jsonl", 2, [])
    first = path.read_bytes()
    assert json.loads(first.split(b"\n")[0]) == asdict(entry(0))
    assert history.add(tmp_path / "h", [entry(0, STEP, 9.0), entry(1)])[1] == 1
    assert history.add(tmp_path / "h", [entry(0), entry(1)])[1] == 0
    assert path.read_bytes().startswith(first)
    assert history.read_file(path) == ([entry(0), entry(0, OPS, 412), entry(1)], [])


def test_a_torn_last_line_is_told_and_left_alone(tmp_path):
    path, _, _ = history.add(tmp_path, [entry(0)])
    torn = path.read_bytes() + b'{"commit": "abc'
    path.write_bytes(torn)
    held, problems = history.read_file(path)
    assert held == [entry(0)]
    assert problems[0].startswith(f"{path}, line 2: torn, left as it is")
    assert history.add(tmp_path, [entry(1)])[1] == 1
    assert path.read_bytes().startswith(torn + b"\n")
    held, problems = history.read_file(path)
    assert held == [entry(0), entry(1)]
    assert len(problems) == 1


def test_an_append_is_one_write(tmp_path, monkeypatch):
    """Several lines of several processes then never mix."""
    calls = []
    plain = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: calls.append(data) or plain(fd, data))
    history.add(tmp_path, [entry(i, m) for i in range(50) for m in (STEP, OPS)])
    assert len([data for data in calls if b"commit" in data]) == 1
    monkeypatch.setattr(os, "write", lambda fd, data: plain(fd, data[:7]))
    with pytest.raises(InputError, match=r"7 of \d+ bytes were taken"):
        history.add(tmp_path, [entry(99)])


HUGE = json.dumps({**vars(entry(0)), "value": 10**400}).encode()


@pytest.mark.parametrize("bad", [b"[1]", b"{}", b'"x"', b'{"value": NaN}', b"\xff", b"[" * 100_000, HUGE])
def test_lines_that_are_no_entries_are_told_and_skipped(tmp_path, bad):
    path, _, _ = history.add(tmp_path, [entry(0)])
    good = path.read_bytes()
    path.write_bytes(bad + b"\n" + good)
    held, (problem,) = history.read_file(path)
    assert held == [entry(0)]
    assert problem.startswith(f"{path}, line 1: broken")


# ---- what is made of it


def test_commits_are_in_the_order_of_their_dates():
    found = history.series([entry(2, value=3.0), entry(0, value=1.0), entry(1, value=2.0)])
    assert [one.values for one in found] == [[1.0, 2.0, 3.0]]


def test_time_zones_do_not_change_the_order():
    """13:00 in Tokyo is before 05:00 in London."""
    tokyo = replace(entry(0), date="2026-01-01T13:00:00+09:00")
    london = replace(entry(1), date="2026-01-01T05:00:00+00:00")
    (found,) = history.series([london, tokyo])
    assert found.entries == (tokyo, london)
    (drawing,) = figures(KEY, [found])
    drawing.figure.canvas.draw()
    labels = [label.get_text() for label in drawing.figure.axes[0].get_xticklabels()]
    assert labels == [commit(0)[:7], commit(1)[:7]]


def test_the_last_value_is_held_against_the_median_of_the_ten_before():
    assert line(STEP, [9.0] * 5 + [1, 2, 3, 4, 5, 6, 7, 8, 9, 10] + [11]).against == pytest.approx(1.0)
    assert line(STEP, [2.0, 3.0]).against == 0.5
    assert line(ELBO, [-100.0, -98.0]).against == pytest.approx(0.02)
    assert math.isnan(line(STEP, [1.0]).against)
    assert math.isnan(line(OPS, [0.0, 1.0]).against)


def test_what_has_no_noise_steps_at_every_change():
    found = line(OPS, [412, 412, 415, 415, 410]).changes
    assert [(c.index, c.before, c.after, c.worse) for c in found] == [(2, 412, 415, True), (4, 415, 410, False)]
    assert [c.said for c in found] == ["+0.7% worse", "-1.2% better"]
    (changed,) = line(LOSS, [0.5, 0.5, 0.5 + 2**-40]).changes
    assert changed.worse is None
    assert changed.said == "+1.8e-12 changed"
    assert line(OPS, [0, 3]).changes[0].said == "0 → 3 worse"


@pytest.mark.parametrize(("measure", "sign", "said"), [(STEP, 1, "worse"), (STEP, -1, "better"), (ELBO, -1, "worse")])
def test_a_step_in_noise_has_its_place_and_direction(measure, sign, said):
    rng = np.random.default_rng(0)
    found = line(measure, 100 + rng.standard_normal(50) + sign * 5 * (np.arange(50) >= 25))
    (change,) = found.changes
    assert abs(change.index - 25) <= 1
    assert change.direction == said
    assert list(found.recent) == [change]


def test_old_steps_are_not_warned_of_again():
    values = [412] * 5 + [415] * history.RECENT
    assert len(list(line(OPS, values).recent)) == 1
    assert list(line(OPS, [*values, 415]).recent) == []


def test_trends_and_units_fit():
    assert trend([1, 2, 3, 4, 5, 6, 7, 8]) == "▁▂▃▄▅▆▇█"
    assert trend([3.0] * 4) == "▄▄▄▄"
    assert len(trend(list(range(100)))) == 20
    assert short_unit("squared, summed over elements") == "squared"
    assert len(short_unit("x" * 40)) == 16


# ---- the command


def run(*words):
    return CliRunner().invoke(app, ["history", *map(str, words)])


def test_the_command_shows_and_warns(tmp_path):
    rng = np.random.default_rng(1)
    times = 1e-3 * (1 + 0.01 * rng.standard_normal(40) + 0.2 * (np.arange(40) >= 30))
    history.add(tmp_path, [e for i, t in enumerate(times) for e in (entry(i, STEP, t), entry(i, OPS, 412 - (i == 39)))])
    shown = run(tmp_path)
    assert shown.exit_code == 0
    assert f"{KEY}: 40 commits" in shown.stdout
    assert "worse at" in shown.stdout
    told = " ".join(shown.stderr.split())
    assert "warning: test_a.py::step · time: +" in told
    assert f"worse since {commit(30)[:10]}" in told
    assert "note: test_a.py::step · dispatched operations: -0.2% better since" in told
    assert "warning: test_a.py::step · dispatched" not in told
    found = json.loads(run(tmp_path, "--json").stdout)
    assert [step["commit"] for step in found[KEY][1]["steps"]] == [commit(39)]
    assert "unknown machine 'x'" in str(run(tmp_path, "--machine", "x").exception)
    assert "no history there" in str(run(tmp_path / "none").exception)


def test_the_command_names_the_kind_where_a_name_has_several(tmp_path):
    history.add(tmp_path, [entry(i, m, 1 + i) for i in range(2) for m in (*NAMESAKES, OPS)])
    shown = run(tmp_path)
    for kind in ("time", "counter", "exact", "quality"):
        assert f"loss ({kind})" in shown.stdout
    assert "dispatched operations (" not in shown.stdout
    told = " ".join(shown.stderr.split())
    assert "warning: test_a.py::step · loss (counter): +100.0% worse since" in told
    assert "warning: test_a.py::step · loss (exact): +100.0% changed since" in told


REPORT = {
    "machine_info": {"node": "elsewhere", "machine": "x86_64", "system": "Linux", "python_version": "3.11.7"},
    "commit_info": {"id": "e" * 40},
    "datetime": "2026-01-02T00:00:00",
    "benchmarks": [{"fullname": "test_a.py::step", "stats": {"min": 0.25}, "extra_info": {"counters": {"ops": 3}}}],
}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"commit_info": {"id": "unversioned"}}, "{place}: it does not say of which commit it is; --commit names one"),
        ({"commit_info": {"id": "unknown"}}, "{place}: it does not say of which commit it is; --commit names one"),
        ({"commit_info": {"id": 5}}, "{place}: it does not say of which commit it is; --commit names one"),
        ({"commit_info": {"id": "e" * 40, "dirty": True}},
         "{file}: it was measured with uncommitted changes, which are of no commit; --commit names one"),
        ({"machine_info": None}, "{file}: it does not say on which machine it was measured"),
        ({"machine_info": {}}, "{file}: it does not say on which machine it was measured"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("whole", [True, False])
def test_reports_of_no_commit_or_machine_are_refused(tmp_path, change, said, whole):
    """Also where it is but one of a folder."""
    file = tmp_path / "r" / "b.json"
    file.parent.mkdir()
    file.write_text(json.dumps(REPORT | change))
    if whole:
        file.with_name("a.json").write_text(json.dumps(REPORT))
    place = file.parent if whole else file
    refused = run(tmp_path / "h", "--add", place)
    assert isinstance(refused.exception, InputError)
    assert str(refused.exception) == said.format(place=place, file=file)
    assert not (tmp_path / "h").exists()


def test_uncommitted_changes_count_for_a_commit_that_is_named(tmp_path, repository):
    (tmp_path / "r.json").write_text(json.dumps(REPORT | {"commit_info": {"id": "e" * 40, "dirty": True}}))
    found = history.entries(sources.read(tmp_path / "r.json"), "HEAD", repository)
    assert {e.commit for e in found} == {commits.commit("HEAD", repository).hash}


def test_the_command_adds(tmp_path):
    (tmp_path / "r.json").write_text(json.dumps(REPORT))
    assert "2 lines added for eeeeeeeeee" in " ".join(run(tmp_path / "h", "--add", tmp_path / "r.json").stdout.split())
    again = run(tmp_path / "h", "--add", tmp_path / "r.json")
    assert "0 lines added for eeeeeeeeee, 2 were there" in " ".join(again.stdout.split())
    (path,) = (tmp_path / "h").iterdir()
    assert "elsewhere" not in path.read_text()
    assert [(e.name, e.value) for e in history.read_file(path)[0]] == [("time", 0.25), ("ops", 3.0)]


# ---- the figure


def test_the_figure_has_a_panel_for_each_metric_and_marks_its_steps():
    held = [line(STEP, [1e-3] * 6), line(OPS, [412] * 3 + [415] * 3), line(LOSS, [543.25] * 5 + [543.25001])]
    (drawing,) = figures(KEY, held)
    panels = [ax for ax in drawing.figure.axes if ax.axison]
    assert [ax.get_title(loc="left").split("\n")[1] for ax in panels] == ["time", "dispatched operations", "loss"]
    assert [ax.get_ylabel() for ax in panels] == ["ms", "operations", "nats − 543.25"]
    np.testing.assert_allclose(panels[0].lines[0].get_ydata(), 1.0)
    np.testing.assert_allclose(panels[2].lines[0].get_ydata()[[0, -1]], [0, 1e-5], atol=1e-12)
    marks = [ax.lines[-1].get_xdata() for ax in panels[1:]]
    np.testing.assert_allclose(marks, [[2.5], [4.5]])
    assert f"dispatched operations: +0.7% worse at {commit(3)[:7]}" in drawing.alt


def test_many_metrics_go_on_pages_whose_titles_do_not_meet():
    held = [
        line(Measure(f"tests/benchmarks/test_of_a_long_name.py::test[{i:02}]", "time", "time", "s"), [1e-3] * 30)
        for i in range(40)
    ]
    drawings = list(figures(KEY, held))
    assert [drawing.name for drawing in drawings] == [f"history-{KEY}-{i}" for i in (1, 2, 3)]
    figure = drawings[0].figure
    figure.canvas.draw()
    panels = [ax for ax in figure.axes if ax.axison]
    boxes = [ax._left_title.get_window_extent() for ax in panels]
    for left, right in pairwise(boxes):
        assert not left.overlaps(right)
    assert max(box.x1 for box in boxes) <= figure.bbox.x1


@pytest.mark.parametrize("count", [1, 2, 30])
def test_few_commits_are_named_and_many_are_not_crowded(count):
    (drawing,) = figures(KEY, [line(STEP, np.linspace(1e-3, 2e-3, count))])
    drawing.figure.canvas.draw()
    (ax,) = (ax for ax in drawing.figure.axes if ax.axison)
    named = [label.get_text() for label in ax.get_xticklabels()]
    assert len(named) == min(count, 6)
    assert named[-1] == commit(count - 1)[:7]
