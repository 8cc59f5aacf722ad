"""The KL of each latent unit, sorted: how many units a random code uses, and how much each carries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from pandas import DataFrame

from aebench.groups import Setting, datasets, evaluated, number, series
from aebench.plots import Arrays, Drawing, file_name, style
from aebench.plots.panels import Page, folded, pages

LINES, PANELS, ACROSS = 7, 6, 2
"""Lines in a panel: as many as there are colours; panels in a figure, and in a row of it."""
SHORT, WRAP = 8, 42
"""Characters of labels that stand side by side in a legend, and in a line of those that do not."""
FLOOR = 1e-4
"""Nats; what is less is drawn here."""
DECADES = 100
"""How many times the top of the axis is its foot, at least."""
ACTIVE = 0.01
"""Nats above which a unit counts as used, in the words for those who do not see the figure."""


@dataclass(frozen=True)
class Profile:
    """The sorted KL of one setting."""

    name: str
    label: str
    """What tells it from others in its panel."""
    kl: NDArray[np.float64]
    """`[seeds, units]`, nats, each row falling."""
    rows: DataFrame

    @property
    def mean(self) -> NDArray[np.float64]:
        """`[units]`, over seeds."""
        return self.kl.mean(0)


@dataclass(frozen=True)
class Panel:
    """Lines that are drawn together."""

    title: str
    what: str
    """What the labels of its lines say."""
    profiles: Sequence[Profile]


def kl_per_dimension(frame: DataFrame, arrays: Arrays) -> Iterator[Drawing]:
    """For each data set a line a setting: KL against the place of a unit, the largest first.

    A sweep of the KL weight has a panel of its own; all other settings share panels.
    """
    for data, rows in datasets(frame):
        found = list(_panels(rows, arrays))
        values = [profile.mean for panel in found for profile in panel.profiles]
        for page in pages(f"kl_per_dimension-{file_name(data)}", PANELS, found):
            yield _page(data, page, np.concatenate(values))


def _panels(rows: DataFrame, arrays: Arrays) -> Iterator[Panel]:
    held = {run: arrays(run).get("kl_per_dimension") for run in rows["id"]}
    random = rows[[held[run] is not None for run in rows["id"]]]
    lines, others = series(random), list[Profile]()
    for line in lines:
        if line.is_sweep:
            profiles = [_profile(number(s.kl_weight), s, held) for s in line.settings]
            yield from (Panel(f"{line.label}{page.of}", "KL weight", page.items) for page in pages("", LINES, profiles))
        else:
            others += [_profile(s.label, s, held) for s in line.settings]
    title = "other settings" if any(line.is_sweep for line in lines) else ""
    yield from (Panel(f"{title}{page.of}".strip(), "setting", page.items) for page in pages("", LINES, others))


def _profile(label: str, setting: Setting, held: dict[str, Any]) -> Profile:
    kl = np.stack([np.asarray(held[run], np.float64) for run in setting.rows["id"]])
    return Profile(setting.label, label, -np.sort(-kl, axis=1), setting.rows)


@style.styled
def _page(data: str, page: Page[Panel], values: NDArray[np.float64]) -> Drawing:
    panels, columns = page.items, min(len(page.items), ACROSS)
    rows = -(-len(panels) // columns)
    most = [
        max(-(-len(p.profiles) // _across(p)) for p in panels[i * columns : (i + 1) * columns]) for i in range(rows)
    ]
    height = 0.6 + sum(2.5 + 0.17 * count for count in most)
    figure, grid = style.panels(rows, columns, (style.WIDTH, height), sharey=True)
    axes = list(chain.from_iterable(grid))
    high = 1.6 * max(float(values.max()), DECADES * FLOOR)
    limits = max(FLOOR, min(float(values.min()) / 1.6, high / DECADES)), high
    for ax, panel in zip(axes, panels, strict=False):
        _draw(ax, panel, limits)
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    for row in grid:
        row[0].set_ylabel("KL of the unit (nats per example)")
    figure.suptitle(f"KL per latent unit: {data}{page.of}")
    shown = [profile for panel in panels for profile in panel.profiles]
    caption = (
        f"KL(q(zᵢ|x) ‖ N(0, 1)) of each unit, averaged over the {evaluated(shown[0].rows).lower()} examples "
        f"of {data} and sorted within each seed, the largest first: {_seeds(shown)}. In brackets the sum over units, "
        f"which is the latent KL."
    )
    if any((profile.mean < limits[0]).any() for profile in shown):
        caption += f" KL below {limits[0]:.2g} nats is drawn there."
    alt = f"Falling lines of KL over units. {'; '.join(map(_said, shown))}."
    return Drawing(page.name, caption + page.said, alt, figure, data)


def _draw(ax: Axes, panel: Panel, limits: tuple[float, float]) -> None:
    for i, profile in enumerate(panel.profiles):
        look, place = style.series_style(i), 1 + np.arange(profile.kl.shape[1])
        label = folded(f"{profile.label} ({profile.mean.sum():.3g})", WRAP)
        every = max(1, len(place) // 32)
        ax.plot(place, profile.mean.clip(limits[0]), label=label, markevery=every, clip_on=False, zorder=3, **look)
        low, high = profile.kl.min(0).clip(*limits), profile.kl.max(0).clip(*limits)
        ax.fill_between(place, low, high, color=look["color"], alpha=0.15, lw=0)
    ax.set_ylim(*limits)
    style.log_axis(ax.yaxis)
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    ax.set_xlabel("unit, by falling KL")
    ax.tick_params(labelleft=True)
    ax.set_title(panel.title)
    title = f"{panel.what} (latent KL, nats per example)"
    look: dict[str, Any] = {"title_fontsize": 8, "alignment": "left", "columnspacing": 1, "borderaxespad": 0}
    ax.legend(title=title, loc="upper left", bbox_to_anchor=(-0.1, -0.2), ncols=_across(panel), **look)


def _across(panel: Panel) -> int:
    """Columns of a legend under a panel: two where labels are short."""
    return 2 if max(len(profile.label) for profile in panel.profiles) <= SHORT else 1


def _seeds(shown: Sequence[Profile]) -> str:
    counts = sorted({len(profile.kl) for profile in shown})
    number = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return "one seed" if number == "1" else f"mean of {number} seeds, the band from the least to the greatest of them"


def _said(profile: Profile) -> str:
    used, units = int((profile.mean > ACTIVE).sum()), len(profile.mean)
    return f"{profile.name}: {used} of {units} units above {ACTIVE:g} nats, {profile.mean.sum():.3g} nats in all"
