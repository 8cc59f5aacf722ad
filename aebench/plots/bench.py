"""Figures of `aebench bench`: cost against pack size, every variant, and cost as work grows, with the roofline.

They are drawn from the document that the command writes, and from nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator
from numpy.typing import NDArray

from aebench.plots import Drawing, file_name, style

Rows = Sequence[Mapping[str, Any]]
Document = Mapping[str, Any]

PER_FIGURE = 7
"""Variants in one figure against pack size: as many as there are colours."""
COST = "ms per run-step"
ROOFLINE = "roofline: the longer of bytes / copy bandwidth and FLOPs / matrix rate"
MEGA = 1e6
FLOOR: dict[str, Any] = {"ls": (0, (4, 2)), "lw": 1, "color": style.REFERENCE}


def figures(document: Document) -> Iterator[Drawing]:
    """The figures of a document; none where nothing was timed."""
    rows: Rows = document["rows"]
    if not rows:
        return
    if document["kind"] == "growth":
        yield growth(document)
        return
    names = list(dict.fromkeys(row["variant"] for row in rows))
    if len({row["runs"] for row in rows}) > 1:
        for first in range(0, len(names), PER_FIGURE):
            page = f"-{1 + first // PER_FIGURE}" if len(names) > PER_FIGURE else ""
            yield packs(document, names[first : first + PER_FIGURE], f"bench-packs{page}")
    yield variants(document)


@style.styled
def packs(document: Document, names: Sequence[str], name: str) -> Drawing:
    """Cost of a run-step against pack size, a panel a network and a line a variant, its roofline dashed."""
    rows = [row for row in document["rows"] if row["variant"] in names]
    networks = list(dict.fromkeys(row["network"] for row in rows))
    sizes = sorted({int(row["runs"]) for row in rows})
    columns = min(len(networks), 2)
    lines = -(-len(networks) // columns)
    height = 1.3 + 0.18 * style.legend_lines(len(names) + 1, 3) + 2.4 * lines
    figure, grid = style.panels(lines, columns, (style.WIDTH, height), sharex=True)
    axes, handles = [ax for line in grid for ax in line], dict[str, Any]()
    for ax, network in zip(axes, networks, strict=False):
        for i, variant in enumerate(names):
            own = sorted((r for r in rows if (r["variant"], r["network"]) == (variant, network)), key=_runs)
            if own:
                apart = 1.025 ** (i - (len(names) - 1) / 2)  # so that bars at one pack size are told apart
                handles[variant] = ax.errorbar(
                    [apart * row["runs"] for row in own], _column(own, "ms"), yerr=_errors(own), capsize=2,
                    label=variant, zorder=3, **style.series_style(i),
                )  # fmt: skip
        _rooflines(ax, [row for row in rows if row["network"] == network], names)
        ax.set_title(network)
        ax.set_ylabel(COST)
        _powers(ax, sizes)
        style.log_axis(ax.yaxis)
    for ax in axes[len(networks) :]:
        ax.set_axis_off()
    for i in range(len(networks)):
        if i + columns >= len(networks):
            axes[i].set_xlabel("runs in a pack")
            axes[i].tick_params(labelbottom=True)
    figure.suptitle(f"Cost of a run-step against pack size: {_where(document)}")
    entries = [*handles.values(), Line2D([], [], label="roofline of each (grey: of several)", **FLOOR)]
    style.legend_below(figure, entries, 3)
    caption = f"{COST} against the runs of a pack, {_how(document)}. Dashed: the {ROOFLINE}. {_machines(document)}"
    said = [_ends([r for r in rows if (r["variant"], r["network"]) == key]) for key in _pairs(rows)]
    return Drawing(name, caption, f"Cost of a run-step by pack size. {' '.join(said)}", figure)


def _rooflines(ax: Axes, rows: Rows, names: Sequence[str]) -> None:
    """The roofline of each variant in its colour; in grey where several have the same."""
    floors = {row["variant"]: f"{row['floor_us'] / 1e3:.3g}" for row in rows}
    sizes = sorted({row["runs"] for row in rows})
    for level in dict.fromkeys(floors.values()):
        own = [variant for variant, floor in floors.items() if floor == level]
        colour = style.series_style(names.index(own[0]))["color"] if len(own) == 1 else style.REFERENCE
        look: dict[str, Any] = FLOOR | {"color": colour}
        ax.plot(sizes, [float(level)] * len(sizes), **look, zorder=2)


@style.styled
def variants(document: Document) -> Drawing:
    """Every variant in a line of its own, a panel a network: cost at each pack size and the roofline."""
    rows: Rows = document["rows"]
    names, networks = (list(dict.fromkeys(row[key] for row in rows)) for key in ("variant", "network"))
    sizes = sorted({int(row["runs"]) for row in rows})
    height = 1.3 + 0.2 * len(names)
    figure, [axes] = style.panels(1, len(networks), (style.WIDTH, height), sharey=True)
    handles: list[Any] = []
    for ax, network in zip(axes, networks, strict=True):
        handles = [_dots(ax, rows, network, names, size, i, len(sizes)) for i, size in enumerate(sizes)]
        single = {row["variant"]: row["floor_us"] / 1e3 for row in rows if row["network"] == network}
        y = [names.index(variant) for variant in single]
        mark: dict[str, Any] = {"marker": "|", "ms": 10, "mew": 1.4, "ls": "", "color": style.REFERENCE}
        handles += ax.plot(list(single.values()), y, **mark, label="roofline", zorder=2)
        style.log_axis(ax.xaxis)
        low, high = ax.get_xlim()
        if high > 50 * low:  # a narrow panel: decades alone
            ax.xaxis.set_major_locator(LogLocator(numticks=5))
        ax.set_title(style.wrap(network, 16))
        ax.grid(axis="y", visible=False)
        ax.set_xlabel(COST if len(networks) < 4 else "ms")
    axes[0].set_yticks(range(len(names)), names)
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    figure.suptitle(f"Cost of a run-step: {_where(document)}")
    style.legend_below(figure, handles, 4)
    caption = f"{COST} of every variant, alone and packed, {_how(document)}. Bar: the {ROOFLINE}. {_machines(document)}"
    said = " ".join(_ends([r for r in rows if (r["variant"], r["network"]) == key]) for key in _pairs(rows))
    return Drawing("bench-variants", caption, f"Cost of a run-step of each variant and network. {said}", figure)


def _dots(ax: Axes, rows: Rows, network: str, names: Sequence[str], size: int, index: int, count: int) -> Any:
    """The points of one pack size, a little apart from those of the others."""
    own = [row for row in rows if row["network"] == network and row["runs"] == size]
    y = [names.index(row["variant"]) + 0.22 * (index - (count - 1) / 2) for row in own]
    label = "alone" if size == 1 else f"{size} packed"
    look: dict[str, Any] = style.series_style(index) | {"linestyle": "", "ms": 3.5, "elinewidth": 1}
    return ax.errorbar(_column(own, "ms"), y, xerr=_errors(own), label=label, zorder=3, **look)


@style.styled
def growth(document: Document) -> Drawing:
    """Time of a step and peak memory against what grows, log-log: medians with quartiles, floors dashed."""
    rows, settings = document["rows"], document["settings"]
    axis = settings["axis"]
    x = [row[axis] for row in rows]
    figure, [axes] = style.panels(1, 2, (style.WIDTH, 3.5), sharex=True)
    time, memory = axes
    quartiles = np.abs([_column(rows, f"ms_quartile_{i}") - _column(rows, "ms") for i in (1, 3)])
    look = style.series_style(0)
    bars = time.errorbar(x, _column(rows, "ms"), yerr=quartiles, capsize=2, label="measured", zorder=3, **look)
    (dashed,) = time.plot(x, _column(rows, "floor_ms"), **FLOOR, label="floor", zorder=2)
    time.set_ylabel("ms per step" + (" of the whole pack" if axis == "runs" else ""))
    time.set_title("time, quartiles as bars; floor: roofline")
    peak = _column(rows, "peak_bytes") / MEGA
    if np.isfinite(peak).any():
        memory.plot(x, peak, **look, zorder=3)
    else:
        memory.text(0.5, 0.8, "the system does not say", transform=memory.transAxes, ha="center")
    memory.plot(x, _column(rows, "held_bytes") / MEGA, **FLOOR, zorder=2)
    memory.set_ylabel("peak memory (MB)")
    memory.set_title("memory; floor: what must be held")
    for ax in axes:
        ax.set_xlabel(settings["unit"])
        _powers(ax, x)
        style.log_axis(ax.yaxis)
    figure.suptitle(f"Cost as {axis} grow{'' if axis in ('runs', 'examples') else 's'}: {_where(document)}")
    style.legend_below(figure, [bars, dashed], 2)
    held = ", ".join(f"{key} {settings[key]}" for key in ("network", "runs", "batch") if key in settings)
    missing = ", ".join(f"{value} ({why})" for value, why in (document["left_out"] | document["failed"]).items())
    caption = (
        f"Time of a training step and peak memory above that of the idle process against {settings['unit']}, "
        f"{held}: medians and quartiles of {settings['repeats']} samples of {settings['steps']} steps. Dashed: the "
        f"{ROOFLINE}; weights, gradients, optimiser state, activations and data. {_machines(document)}"
    ) + (f" Left out: {missing}." if missing else "")
    ends = [f"{axis} {row[axis]}: {row['ms']:.3g} ms, floor {row['floor_ms']:.3g} ms" for row in (rows[0], rows[-1])]
    return Drawing(f"bench-{file_name(axis)}", caption, f"Cost against {axis}. {'; '.join(ends)}.", figure)


def _powers(ax: Axes, values: Sequence[float]) -> None:
    """A logarithmic axis with ticks at the values themselves, every other one where they are many."""
    ax.set_xscale("log", base=2)
    low, high = min(values), max(values)
    ax.set_xlim(low / 1.3, high * 1.3)
    ax.xaxis.set_major_locator(FixedLocator(values if len(values) <= 6 else values[::2]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))


def _short(value: float) -> str:
    """A count in few characters: 65,536 is 64k, as powers of two are meant."""
    for unit, size in (("M", 2**20), ("k", 2**10)):
        if value >= size and value % size == 0:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def _runs(row: Mapping[str, Any]) -> int:
    return int(row["runs"])


def _column(rows: Rows, name: str) -> NDArray[np.float64]:
    """Numbers of the rows; null is NaN."""
    return np.array([np.nan if row[name] is None else row[name] for row in rows], np.float64)


def _errors(rows: Rows) -> NDArray[np.float64]:
    """Lengths of the bars below and above, `[2, rows]`; none where there is no interval."""
    middle = _column(rows, "ms")
    return np.nan_to_num(np.stack([middle - _column(rows, "ms_low"), _column(rows, "ms_high") - middle]))


def _pairs(rows: Rows) -> list[tuple[str, str]]:
    return list(dict.fromkeys((row["variant"], row["network"]) for row in rows))


def _where(document: Document) -> str:
    settings = document["settings"]
    named = f"{settings['variant']}, " if "variant" in settings else ""
    return f"{named}{settings['data']}, {document['made']['device']}"


def _how(document: Document) -> str:
    settings = document["settings"]
    return (
        f"batch {settings['batch']}, {settings['precision']}: medians of {settings['repeats']} samples of "
        f"{settings['steps']} steps, with 95 % intervals"
    )


def _machines(document: Document) -> str:
    """The rates that the roofline is made of."""
    said = [
        f"{m['copy_bytes_per_s'] / 1e9:.3g} GB/s, {m['matrix_flops_per_s'] / 1e9:.3g} GFLOP/s ({m['threads']} threads)"
        for m in document["machine"]
    ]
    return f"Machine: {'; '.join(said)}."


def _ends(rows: Rows) -> str:
    """First and last pack size of a variant on a network, in words."""
    points = [f"{row['ms']:.3g} ms at {row['runs']}" for row in (rows[:1] if len(rows) == 1 else [rows[0], rows[-1]])]
    return f"{rows[0]['variant']} on {rows[0]['network']}: {', '.join(points)}."
