"""Every system of the notes beside the others: the error of each variant, family by family."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from pandas import DataFrame

from aebench.groups import Setting, datasets, intervals, seeds, series
from aebench.plots import Arrays, Drawing, file_name, lines, style
from aebench.variants import VARIANTS

ERROR, GAIN = "sse", "denoising_gain_db_0.25"
FAMILIES = {
    "closed_form": "closed form",
    "autoencoder": "plain",
    "denoising": "denoising",
    "sparse": "sparse, contractive",
    "variational": "variational",
}
"""Family, which is the file that a variant is written in -> its name; others are of no family."""
OTHER = "others"
LEAST = 3
"""Settings that a figure needs; fewer are read as well in the table."""
Families = dict[str, list[Setting]]


def notes(frame: DataFrame, arrays: Arrays) -> Iterator[Drawing]:
    """For each data set the error of every setting, and its denoising gain where that was measured."""
    for data, rows in datasets(lines.measured(frame, [ERROR])):
        families = by_family(rows)
        if sum(map(len, families.values())) >= LEAST:
            yield _errors(f"notes-{file_name(data)}", data, rows, families)


def by_family(rows: DataFrame) -> Families:
    """The settings of each family, least error first."""
    found: Families = {name: [] for name in [*FAMILIES.values(), OTHER]}
    for setting in (setting for line in series(rows) for setting in line.settings):
        reference, _ = VARIANTS.get(str(setting.rows["variant"].iloc[0]), ("", ""))
        found[FAMILIES.get(reference.partition(":")[0].rpartition(".")[2], OTHER)].append(setting)
    error = lambda setting: float(intervals([setting], ERROR).mean[0])  # noqa: E731
    return {name: sorted(settings, key=error) for name, settings in found.items() if settings}


@style.styled
def _errors(name: str, data: str, rows: DataFrame, families: Families) -> Drawing:
    settings = [setting for own in families.values() for setting in own]
    columns = [ERROR, *([GAIN] if len(lines.measured(rows, [GAIN])) == len(rows) else [])]
    size = (style.WIDTH, 1.1 + 0.19 * (len(settings) + len(families)))
    figure, [axes] = style.panels(1, len(columns), size, sharey=True)
    handles = _column(axes[0], families, ERROR)
    for ax, column in zip(axes[1:], columns[1:], strict=True):
        _column(ax, families, column)
    linear = _best_linear(settings)
    for ax, column in zip(axes, columns, strict=True):
        if linear is not None:
            at = float(intervals([linear], column).mean[0])
            line = ax.axvline(at, color=style.REFERENCE, lw=1, ls="--", zorder=1, label="PCA, the best linear map")
            handles += [line] if ax is axes[0] else []
    common = _latent(settings)
    places, _ = _places(families)
    axes[0].set_yticks(places, [_label(setting, common) for setting in settings])
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
    for i, (name, settings) in enumerate(families.items()):
        y = [place for place, label in zip(places, labels, strict=True) if label == name]
        found = intervals(settings, column)
        look: dict[str, Any] = style.series_style(i) | {"linestyle": ""}
        handles.append(ax.errorbar(found.mean, y, xerr=found.errors, capsize=2, label=name, zorder=3, **look))
    return handles


def _best_linear(settings: list[Setting]) -> Setting | None:
    """PCA at the latent size that most have."""
    common = _latent(settings)
    own = [setting for setting in settings if setting.rows["variant"].iloc[0] == "pca"]
    return next((setting for setting in own if _latent([setting]) == common), None)


def _latent(settings: list[Setting]) -> int:
    """The latent size that most settings have."""
    sizes = [int(setting.rows["spec"].iloc[0]["sizes"]["latent"]) for setting in settings]
    values, counts = np.unique(sizes, return_counts=True)
    return int(values[counts.argmax()])


def _label(setting: Setting, common: int) -> str:
    """The setting, with its latent size where that is not the common one."""
    own = _latent([setting])
    told = f"latent {own}" in setting.label
    return setting.label if own == common or told else f"{setting.label}, {own} units"


def _said(families: Families) -> str:
    parts: list[str] = []
    for name, settings in families.items():
        error = intervals(settings, ERROR).mean
        parts.append(f"{name}: {', '.join(f'{s.label} {e:.3g}' for s, e in zip(settings, error, strict=True))}")
    return "; ".join(parts)
