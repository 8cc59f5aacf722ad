"""Every system of the notes beside the others: the error of each variant, family by family."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from matplotlib.axes import Axes
from pandas import DataFrame

from aebench.groups import Setting, datasets, intervals, seeds, series
from aebench.plots import Arrays, Drawing, file_name, lines, style
from aebench.plots.choosing import best, page_name, pages
from aebench.plots.families import NAMES, common_latent, family, label, latent, short

ERROR, GAIN = "sse", "denoising_gain_db_0.25"
LABEL = 44
"""Characters of a setting's name."""
PER_PAGE = 40
"""Settings on one page."""
LEAST = 3
"""Settings that a figure needs; fewer are read as well in the table."""
Families = dict[str, list[Setting]]


def notes(frame: DataFrame, arrays: Arrays) -> Iterator[Drawing]:
    """For each data set the error of every setting, and its denoising gain where that was measured."""
    for data, rows in datasets(lines.measured(frame, [ERROR])):
        shown = best(rows, ERROR)
        settings = [setting for own in by_family(shown.rows).values() for setting in own]
        if len(settings) < LEAST:
            continue
        several = pages(settings, PER_PAGE)
        for i, page in enumerate(several):
            drawing = _errors(page_name(f"notes-{file_name(data)}", i, len(several)), data, shown.rows, page, settings)
            yield replace(drawing, caption=drawing.caption + shown.words)


def by_family(rows: DataFrame) -> Families:
    """The settings of each family, least error first."""
    found: Families = {name: [] for name in NAMES}
    for setting in (setting for line in series(rows) for setting in line.settings):
        found[_family(setting)].append(setting)
    error = lambda setting: float(intervals([setting], ERROR).mean[0])  # noqa: E731
    return {name: sorted(settings, key=error) for name, settings in found.items() if settings}


@style.styled
def _errors(name: str, data: str, rows: DataFrame, settings: Sequence[Setting], everyone: list[Setting]) -> Drawing:
    """One page, its settings by family; PCA and the common latent size are those of `everyone`."""
    families = {name: [s for s in settings if _family(s) == name] for name in NAMES}
    families = {name: own for name, own in families.items() if own}
    columns = [ERROR, *([GAIN] if len(lines.measured(rows, [GAIN])) == len(rows) else [])]
    size = (style.WIDTH, 1.1 + 0.19 * (len(settings) + len(families)))
    figure, [axes] = style.panels(1, len(columns), size, sharey=True)
    handles = _column(axes[0], families, ERROR)
    for ax, column in zip(axes[1:], columns[1:], strict=True):
        _column(ax, families, column)
    linear = _best_linear(everyone)
    for ax, column in zip(axes, columns, strict=True):
        if linear is not None:
            at = float(intervals([linear], column).mean[0])
            line = ax.axvline(at, color=style.REFERENCE, lw=1, ls="--", zorder=1, label="PCA, the best linear map")
            handles += [line] if ax is axes[0] else []
    common = common_latent(map(_spec, everyone))
    places, _ = _places(families)
    axes[0].set_yticks(places, [short(label(setting.label, _spec(setting), common), LABEL) for setting in settings])
    axes[0].set_ylim(max(places) + 0.8, min(places) - 0.8)
    axes[0].set_xlabel("reconstruction error\n(squared units of the data per example)")
    if rows[ERROR].min() > 0 and rows[ERROR].max() > 5 * rows[ERROR].min():
        style.log_axis(axes[0].xaxis)
    if len(columns) > 1:
        axes[1].set_xlabel("denoising gain at σ = 0.25\n(dB)")
        axes[1].tick_params(labelleft=False)
    for ax in axes:
        ax.tick_params(axis="y", length=0)
    figure.suptitle(f"Every variant under one budget: {data}, {common} latent units")
    style.legend_below(figure, handles, 3)
    caption = (
        f"Squared error of the reconstruction through the mean code on {data}, family by family, least error first: "
        f"{seeds(rows)}."
    )
    if linear is not None:
        caption += " Dashed: principal component analysis, the best linear map of that rank on the training data."
    return Drawing(name, caption, f"Errors by family. {_said(families)}.", figure, data)


def _places(families: Families) -> tuple[list[float], list[str]]:
    """Where each setting stands, from the top, a gap between families; and the family of each."""
    places: list[float] = []
    labels: list[str] = []
    at = 0.0
    for name, settings in families.items():
        places += [at + i for i in range(len(settings))]
        labels += [name] * len(settings)
        at += len(settings) + 0.6
    return places, labels


def _column(ax: Axes, families: Families, column: str) -> list[Any]:
    places, labels = _places(families)
    handles: list[Any] = []
    for name, settings in families.items():
        y = [place for place, label in zip(places, labels, strict=True) if label == name]
        found = intervals(settings, column)
        look: dict[str, Any] = style.series_style(NAMES.index(name)) | {"linestyle": ""}
        handles.append(ax.errorbar(found.mean, y, xerr=found.errors, capsize=2, label=name, zorder=3, **look))
    return handles


def _best_linear(settings: list[Setting]) -> Setting | None:
    """PCA at the latent size that most have."""
    common = common_latent(map(_spec, settings))
    own = [setting for setting in settings if setting.rows["variant"].iloc[0] == "pca"]
    return next((setting for setting in own if latent(_spec(setting)) == common), None)


def _family(setting: Setting) -> str:
    return family(str(setting.rows["variant"].iloc[0]))


def _spec(setting: Setting) -> dict[str, Any]:
    return setting.rows["spec"].iloc[0]


def _said(families: Families) -> str:
    parts: list[str] = []
    for name, settings in families.items():
        error = intervals(settings, ERROR).mean
        parts.append(f"{name}: {', '.join(f'{s.label} {e:.3g}' for s, e in zip(settings, error, strict=True))}")
    return "; ".join(parts)
