"""Denoising: the noise trained on against the noise tested on, beside the best linear denoiser."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from pandas import DataFrame

from aebench.comparison.curves import overlaps
from aebench.groups import Setting, datasets, intervals, number, seeds, series, value
from aebench.plots import Arrays, Drawing, file_name, lines, style
from aebench.plots.between import Difference, across, caption, differences, height, panel
from aebench.plots.choosing import longest
from aebench.plots.families import legend_columns, short
from aebench.variants import VARIANTS

KIND = "noise"
OTHERS = 5
"""Settings trained without σ that have a colour and a name; more are grey."""
GAIN, GAP = "denoising_gain_db_", "denoising_gap_db_"


def denoising(frame: DataFrame, arrays: Arrays) -> Iterator[Drawing]:
    """For each data set the gain against the σ tested: a line for each σ trained, the best linear denoiser dashed."""
    tested = sorted(float(c.removeprefix(GAIN)) for c in map(str, frame.columns) if c.startswith(GAIN))
    for data, rows in datasets(lines.measured(frame, [f"{GAIN}{sigma:g}" for sigma in tested])):
        shown = longest(rows, ("sigma",))
        settings = [setting for line in series(shown.rows, ("sigma",)) for setting in line.settings]
        if not tested or all(np.isnan(value(setting, "sigma")) for setting in settings):
            continue
        by_sigma = sorted(settings, key=lambda setting: value(setting, "sigma"))
        runs = {_label(setting): set(setting.rows["id"]) for setting in by_sigma if not _is_closed(setting)}
        compared = [one.comparison for one in overlaps(shown.rows, (KIND,))]
        apart = [replace(one, at=10**one.at) for one in differences(compared, KIND, runs)]
        drawing = _gains(f"denoising-{file_name(data)}", data, shown.rows, tested, settings, apart)
        yield replace(drawing, caption=drawing.caption + shown.words)


@style.styled
def _gains(
    name: str,
    data: str,
    rows: DataFrame,
    tested: list[float],
    settings: Sequence[Setting],
    apart: Sequence[Difference],
) -> Drawing:
    gaps = lines.measured(rows, [f"{GAP}{sigma:g}" for sigma in tested])
    fitted = [setting for setting in settings if _is_closed(setting)]
    trained, rest = _shown([setting for setting in settings if not _is_closed(setting)], tested)
    columns = legend_columns([_label(setting) for setting in trained], 3 - bool(apart))
    ratios = [1.8, 1] if apart else [1]
    tall = 3.6 + 0.17 * style.legend_lines(len(trained) + 2, columns) + height(apart)
    figure, grid = style.panels(len(ratios), 2 if len(gaps) else 1, (style.WIDTH, tall), height_ratios=ratios)
    axes, looks = grid[0], _looks(trained)
    handles = [_line(axes[0], GAIN, tested, s, look) for s, look in zip(trained, looks, strict=True)]
    handles += _grey(axes[0], GAIN, tested, rest)
    if len(gaps):
        handles += _best_linear(axes[0], gaps, tested)
        for setting, look in zip(trained, looks, strict=True):
            _line(axes[1], GAP, tested, setting, look)
        _grey(axes[1], GAP, tested, rest)
        axes[1].axhline(0, ls="--", color=style.REFERENCE, lw=1.2)
        axes[1].set_ylabel("gain beyond the best linear denoiser (dB)")
    handles += _at_own(axes[0], tested, fitted)
    if apart:
        below = across(grid)
        handles += panel(below, apart, dict(zip(map(_label, trained), looks, strict=True)))
        below.set_ylabel("difference of\nthe gain (dB)")
        axes = [*axes, below]
    for ax in axes:
        style.log_axis(ax.xaxis)
        ax.set_xticks(tested, [f"{sigma:g}" for sigma in tested])
        ax.minorticks_off()
        ax.set_xlabel("σ tested (units of the data)")
    axes[0].axhline(0, color="0.6", lw=0.7, zorder=1)
    axes[0].set_ylabel("denoising gain (dB)")
    figure.suptitle(f"Noise trained on against noise tested on: {data}")
    style.legend_below(figure, handles, columns)
    text = (
        f"Denoising gain 10 log₁₀(E‖x̃ − x‖²/E‖x̂ − x‖²) on {data} against the σ of the Gaussian noise added for the "
        f"test, a line for each corruption trained on: {seeds(rows)}."
    )
    if rest:
        text += f" Of what was trained without σ the best {OTHERS} by mean gain have a name."
    if len(gaps):
        text += " Dashed: the best linear denoiser of the code's rank, fitted at each σ; right: the gain beyond it."
    text += caption(apart, "the gain at equal σ tested", "dB, over log σ")
    said = "; ".join(_said(setting, tested) for setting in trained)
    said += "".join(f". Mean difference of the gain, {one.words}" for one in apart)
    return Drawing(name, text, f"Denoising gain in dB against the σ tested. {said}.", figure, data)


def _is_closed(setting: Setting) -> bool:
    """Whether it is a closed form: these are drawn as what is known, not as what was trained."""
    return VARIANTS.get(str(setting.rows["variant"].iloc[0]), ("", ""))[0].startswith("aebench.variants.closed_form")


def _label(setting: Setting) -> str:
    """What it was trained on: the σ where that is swept, else the variant and its own corruption."""
    sigma, share = value(setting, "sigma"), value(setting, "p")
    if np.isnan(sigma):
        return f"{setting.label}{'' if np.isnan(share) else f', p = {number(share)}'}"
    return f"{setting.label}, σ = {number(sigma)}"


def _shown(settings: list[Setting], tested: list[float]) -> tuple[list[Setting], list[Setting]]:
    """Those trained on Gaussian noise with the best `OTHERS` of the others by their mean gain; and the rest."""
    gain = {s.first: float(np.mean([intervals([s], f"{GAIN}{x:g}").mean[0] for x in tested])) for s in settings}
    others = [setting for setting in settings if np.isnan(value(setting, "sigma"))]
    rest = {setting.first for setting in sorted(others, key=lambda setting: -gain[setting.first])[OTHERS:]}
    return [s for s in settings if s.first not in rest], [s for s in settings if s.first in rest]


def _looks(settings: list[Setting]) -> list[dict[str, Any]]:
    """Those trained on Gaussian noise run through viridis by their σ, a marker a line; others have a colour each."""
    colours = iter(style.PALETTE[1:2] + style.PALETTE[3:])  # blue and green are near those of viridis
    sigmas = sorted({s for s in (value(setting, "sigma") for setting in settings) if not np.isnan(s)})
    places = dict(zip(sigmas, np.linspace(0.85, 0, len(sigmas)), strict=True))
    looks: list[dict[str, Any]] = []
    for i, setting in enumerate(settings):
        sigma, look = value(setting, "sigma"), style.series_style(i)
        if np.isnan(sigma):
            look |= {"color": next(colours), "linestyle": style.DASHES[1 + i % 2], "markerfacecolor": "white"}
        else:
            look["color"] = mpl.colormaps["viridis"](places[sigma])
        looks.append(look)
    return looks


def _line(ax: Axes, prefix: str, tested: list[float], setting: Setting, look: dict[str, Any]) -> Any:
    found = [intervals([setting], f"{prefix}{sigma:g}") for sigma in tested]
    mean, errors = np.concatenate([f.mean for f in found]), np.concatenate([f.errors for f in found], 1)
    return ax.errorbar(tested, mean, yerr=errors, capsize=2, label=short(_label(setting), 44), zorder=3, **look)


def _grey(ax: Axes, prefix: str, tested: list[float], rest: list[Setting]) -> list[Any]:
    """Lines without a name; one handle for all of them."""
    handles: list[Any] = []
    for setting in rest:
        mean = [float(intervals([setting], f"{prefix}{sigma:g}").mean[0]) for sigma in tested]
        handles = ax.plot(tested, mean, color="0.75", lw=0.8, zorder=1.5, label=f"{len(rest)} others, means")
    return handles


def _best_linear(ax: Axes, rows: DataFrame, tested: list[float]) -> list[Any]:
    """Gain less gap, which all runs of one latent size share but for the noise drawn: its mean, dashed."""
    handles: list[Any] = []
    sizes = np.array([int(spec["sizes"]["latent"]) for spec in rows["spec"]])
    for i, latent in enumerate(np.unique(sizes).tolist()):
        own = rows[sizes == latent]
        gain = [float((own[f"{GAIN}{sigma:g}"] - own[f"{GAP}{sigma:g}"]).mean()) for sigma in tested]
        dashes = (0, (5, 2)) if i == 0 else (0, (5, 2 + 2 * i))
        label = f"best linear denoiser of rank {latent}"
        handles += ax.plot(tested, gain, ls=dashes, color=style.REFERENCE, lw=1.4, label=label, zorder=2.5)
    return handles


def _at_own(ax: Axes, tested: list[float], fitted: list[Setting]) -> list[Any]:
    """Closed forms at the σ that they were fitted at."""
    known = [(sigma, setting) for setting in fitted for sigma in tested if value(setting, "sigma") == sigma]
    if not known:
        return []
    y = [float(intervals([setting], f"{GAIN}{sigma:g}").mean[0]) for sigma, setting in known]
    label = f"{known[0][1].rows['variant'].iloc[0]}, fitted at the σ tested"
    x = [sigma for sigma, _ in known]
    return ax.plot(x, y, "o", ms=8, mfc="none", mec="black", mew=0.9, zorder=4, label=label)


def _said(setting: Setting, tested: list[float]) -> str:
    gain = [float(intervals([setting], f"{GAIN}{sigma:g}").mean[0]) for sigma in tested]
    best = int(np.argmax(gain))
    return f"{_label(setting)}: {gain[0]:.3g} dB at σ {tested[0]:g}, most {gain[best]:.3g} dB at σ {tested[best]:g}"
