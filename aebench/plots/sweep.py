"""The β sweep: the energy view against β, and rate against distortion, beside what is known exactly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import patheffects
from matplotlib.axes import Axes
from numpy.typing import NDArray
from pandas import DataFrame

from aebench.comparison.curves import overlaps
from aebench.groups import KL_WEIGHT, Series, datasets, intervals, number, seeds, series, weight
from aebench.plots import Arrays, Drawing, file_name, style
from aebench.plots.between import Difference, caption, differences, height, panel
from aebench.plots.choosing import longest, page_name, pages
from aebench.plots.families import short
from aebench.plots.known import Known, known

Floats = NDArray[np.float64]

PER_FIGURE = 6
"""Lines in one figure of the energies; more lines make more figures, with the same axes."""
PER_RATE = 10
"""Lines in one figure of rates."""

C_LABEL = "⟨C⟩ (squared units of the data per example)"
ENERGIES = {
    "C": "⟨C⟩ (squared units of\nthe data per example)",
    "U": "⟨U⟩ (nats per example)",
    "S": "⟨S⟩ (nats per example)",
    "V": "−⟨V⟩ (nats per example)",
}
KL_LABEL = "latent KL (nats per example)"
BETA_LABEL = "log₁₀ of the notes' β = 1 / KL weight"
COLUMNS = [*ENERGIES, "kl"]


def beta_sweep(frame: DataFrame, arrays: Arrays) -> Iterator[Drawing]:
    """For each data set ⟨C⟩, ⟨U⟩, ⟨S⟩, −⟨V⟩ against log₁₀ of the notes' β: means over seeds, 95 % t intervals.

    The notes' β is one over the KL weight, which is what variants and tables call beta: the axis says so.
    """
    for data, rows in datasets(_swept(frame)):
        shown = longest(rows, KL_WEIGHT)
        count = len(series(shown.rows))
        for first in range(0, count, PER_FIGURE):
            name = page_name(f"beta_sweep-{file_name(data)}", first // PER_FIGURE, -(-count // PER_FIGURE))
            drawing = _energies(name, data, shown.rows, first)
            yield replace(drawing, caption=drawing.caption + shown.words)


def rate_distortion(frame: DataFrame, arrays: Arrays) -> Iterator[Drawing]:
    """For each data set the latent KL against ⟨C⟩, one line a variant, KL weights written at the points."""
    for data, rows in datasets(_swept(frame)):
        shown = longest(rows, KL_WEIGHT)
        lines = series(shown.rows)
        compared = [one.comparison for one in overlaps(shown.rows, ("rate-distortion",))]
        several = pages(lines, PER_RATE)
        for i, page in enumerate(several):
            name = page_name(f"rate_distortion-{file_name(data)}", i, len(several))
            runs = {line.label: {str(run) for s in line.settings for run in s.rows["id"]} for line in page}
            apart = differences(compared, "rate-distortion", runs)
            drawing = _rate(name, data, pd.concat([s.rows for line in page for s in line.settings]), page, apart)
            yield replace(drawing, caption=drawing.caption + shown.words)


def _swept(frame: DataFrame) -> DataFrame:
    """Runs with a constant KL weight above zero and all energies measured."""
    if not set(COLUMNS) <= set(frame.columns):
        return frame.iloc[:0]
    return frame[(weight(frame) > 0) & frame[COLUMNS].notna().all(axis=1).to_numpy(bool)]


@style.styled
def _energies(name: str, data: str, rows: DataFrame, first: int) -> Drawing:
    lines, exact = series(rows)[first : first + PER_FIGURE], known(rows)
    x = -np.log10(weight(rows))
    limits = float(x.min()) - 0.15, float(x.max()) + 0.15
    figure, grid = style.panels(2, 2, (style.WIDTH, 5.6), sharex=True)
    axes = dict(zip(ENERGIES, [ax for row in grid for ax in row], strict=True))
    handles: list[Any] = []
    for column, ax in axes.items():
        handles = [_measured(ax, line, column, first + i) for i, line in enumerate(lines)]
        handles += _known_energies(ax, column, exact, limits)
        ax.set_ylabel(ENERGIES[column])
    style.log_axis(axes["C"].yaxis)
    axes["C"].set_xlim(*limits)
    for above, below in zip(*grid, strict=True):
        _kl_weight_axis(above, limits)
        below.set_xlabel(BETA_LABEL)
    figure.suptitle(f"Energy view: {data}")
    style.legend_below(figure, handles, 2)
    caption = (
        f"⟨C⟩ with sampled z, ⟨U⟩, ⟨S⟩ and −⟨V⟩ on {data} against log₁₀ of the notes' β, which is 1 / KL weight: "
        f"{seeds(rows)}. The variants' beta in the tables is the KL weight.{exact.words()}"
    )
    return Drawing(name, caption, f"Four panels against {BETA_LABEL}. {_ends(lines)}", figure, data)


def _measured(ax: Axes, line: Series, column: str, index: int) -> Any:
    found = intervals(line.settings, column)
    mean, errors = (-found.mean, found.errors[::-1]) if column == "V" else (found.mean, found.errors)
    x = [-np.log10(setting.kl_weight) for setting in line.settings]
    return ax.errorbar(
        x, mean, yerr=errors, capsize=2, label=short(line.label, 44), zorder=3, **style.series_style(index)
    )


def _known_energies(ax: Axes, column: str, exact: Known, limits: tuple[float, float]) -> list[Any]:
    handles: list[Any] = []
    if exact.eigenvalues:
        x, view = np.linspace(*limits, 400), exact.linear_vae(10 ** -np.linspace(*limits, 400))
        y = -view.V if column == "V" else getattr(view, column)
        handles += ax.plot(x, y, "--", color=style.REFERENCE, lw=1, label=exact.label)
    collapses = [x for x in exact.collapses() if limits[0] < x < limits[1]]
    marks = [ax.axvline(x, color="0.5", lw=0.9, ls=":", label="a latent collapses, KL weight = 2λ") for x in collapses]
    handles += marks[:1]
    if exact.notes:
        rows = [row for row in exact.notes if limits[0] < row.log10_beta < limits[1]]
        x = [row.log10_beta for row in rows]
        y = [row.minus_V if column == "V" else getattr(row, column) for row in rows]
        handles += ax.plot(x, y, "o", ms=8, mfc="none", mec="black", mew=0.9, zorder=4, label="the notes' rows")
    return handles


def _kl_weight_axis(ax: Axes, limits: tuple[float, float]) -> None:
    """Weights of 1, 2, 5 times powers of ten, or those powers alone, along the top."""
    top = ax.secondary_xaxis("top", functions=(np.negative, np.negative))
    steps = (1,) if limits[1] - limits[0] > 2 else (1, 2, 5) if limits[1] - limits[0] > 0.8 else range(1, 10)
    decades = range(int(np.floor(-limits[1])), int(np.ceil(-limits[0])))
    weights = [step * 10.0**k for k in decades for step in steps if limits[0] < -np.log10(step * 10.0**k) < limits[1]]
    top.set_xticks([np.log10(weight) for weight in weights], [f"{weight:g}" for weight in weights])
    top.set_xlabel("KL weight")


@style.styled
def _rate(name: str, data: str, rows: DataFrame, lines: Sequence[Series], apart: Sequence[Difference]) -> Drawing:
    exact, ratios = known(rows), [2.2, 1] if apart else [1]
    size = (style.WIDTH, 4.0 + 0.17 * (len(lines) // 2) + height(apart))
    figure, grid = style.panels(len(ratios), 1, size, height_ratios=ratios)
    ax, handles = grid[0][0], list[Any]()
    looks = {line.label: style.series_style(index) for index, line in enumerate(lines)}
    for line in lines:
        C, kl = intervals(line.settings, "C"), intervals(line.settings, "kl")
        how: dict[str, Any] = looks[line.label] | {"capsize": 2, "zorder": 3, "label": short(line.label, 44)}
        handles.append(ax.errorbar(C.mean, kl.mean, kl.errors, C.errors, **how))
    if len(apart) == 1:
        _between(ax, *(line for line in lines if line.label in (apart[0].curve, apart[0].reference)))
    ax.margins(x=0.09)
    style.log_axis(ax.xaxis)
    ax.set_xlabel(C_LABEL)
    ax.set_ylabel(KL_LABEL)
    handles += _known_rates(ax, exact, weight(rows))
    ax.set_title(f"Rate and distortion: {data}")
    if apart:
        handles += panel(grid[1][0], apart, looks)
        grid[1][0].set_xlabel(KL_LABEL)
        grid[1][0].set_ylabel("difference of ⟨C⟩\nat equal latent KL")
    style.legend_below(figure, handles, 2)
    longest_line = max(lines, key=lambda line: len(line.settings))
    figure.draw_without_rendering()  # only now are the places on the page known
    for line in [longest_line] if longest_line.is_sweep else lines:
        _write_weights(ax, line)
    of = f" of {longest_line.label}" if len(lines) > 1 and longest_line.is_sweep else ""
    bound = (
        " Grey: below the Gaussian bound R(C) of reverse water-filling, where in expectation no model can be."
        if exact.is_data
        else ""
    )
    text = f"Latent KL against ⟨C⟩ on {data}: {seeds(rows)}. Numbers at points{of} are KL weights.{bound}"
    text += caption(apart, "⟨C⟩ at equal latent KL", "squared units of the data per example")
    said = "".join(f" At equal KL, mean difference of ⟨C⟩, {one.words}." for one in apart)
    return Drawing(name, text, f"Latent KL falls as the error C grows. {_ends(lines)}{said}", figure, data)


def _between(ax: Axes, one: Series, other: Series) -> None:
    """Shade what lies between two curves, over the latent KL that both have."""
    points = [np.stack([intervals(line.settings, name).mean for name in ("kl", "C")]) for line in (one, other)]
    low, high = max(kl.min() for kl, _ in points), min(kl.max() for kl, _ in points)
    at = np.unique(np.clip(np.concatenate([kl for kl, _ in points]), low, high))
    sides = [np.interp(at, *(values[np.argsort(kl)] for values in (kl, C))) for kl, C in points]
    ax.fill_betweenx(at, *sides, color="0.88", lw=0, zorder=1)


def _known_rates(ax: Axes, exact: Known, weights: Floats) -> list[Any]:
    handles: list[Any] = []
    limits, top = ax.get_xlim(), ax.get_ylim()[1]
    if exact.eigenvalues:
        view = exact.linear_vae(np.geomspace(weights.min() / 3, weights.max() * 3, 600))
        handles += ax.plot(view.C, view.kl, "--", color=style.REFERENCE, lw=1, label=exact.label)
    if exact.is_data:
        C = np.geomspace(*limits, 400)
        handles += ax.plot(C, exact.rate(C), color="0.6", lw=0.8, zorder=0.5, label="Gaussian bound R(C)")
        ax.fill_between(C, 0, exact.rate(C), color="0.93", zorder=0)
    if exact.notes:
        rows = [row for row in exact.notes if limits[0] < row.C < limits[1]]
        x, y = [row.C for row in rows], [row.U + row.S for row in rows]
        handles += ax.plot(x, y, "o", ms=8, mfc="none", mec="black", mew=0.9, zorder=4, label="the notes' rows, U + S")
    ax.set_xlim(limits)
    ax.set_ylim(-0.07 * top, top)
    return handles


def _write_weights(ax: Axes, line: Series) -> None:
    """Write the KL weights at the points of a line, once drawn; points that fall together share one label."""
    points = np.stack([intervals(line.settings, column).mean for column in ("C", "kl")], 1)
    figure = ax.get_figure(root=True)
    assert figure is not None
    places = ax.transData.transform(points)
    texts: list[tuple[int, list[str]]] = []
    for i, setting in enumerate(line.settings):
        if texts and np.hypot(*(places[i] - places[texts[-1][0]])) < 0.12 * figure.dpi:
            texts[-1][1].append(number(setting.kl_weight))
        else:
            texts.append((i, [number(setting.kl_weight)]))
    halo = [patheffects.withStroke(linewidth=2, foreground="white")]
    for i, words in texts:
        look: dict[str, Any] = {"fontsize": 8, "path_effects": halo, "ha": "right", "va": "top", "zorder": 2.5}
        place = (float(points[i, 0]), float(points[i, 1]))
        ax.annotate(", ".join(words), place, xytext=(-4, -3), textcoords="offset points", **look)


def _ends(lines: Sequence[Series]) -> str:
    """The first and last point of each line, for readers who do not see them."""
    said: list[str] = []
    for line in lines:
        C, kl = intervals(line.settings, "C").mean, intervals(line.settings, "kl").mean
        ends = sorted({0, len(line.settings) - 1})
        points = [f"KL weight {number(line.settings[i].kl_weight)}: C {C[i]:.3g}, KL {kl[i]:.3g} nats" for i in ends]
        said.append(f"{line.label}, {'; '.join(points)}.")
    return " ".join(said)
