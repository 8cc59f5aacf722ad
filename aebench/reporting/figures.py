"""Which figures a report draws, and their files.

Those that the suites name, and the standard set of a comparison. Drawings are taken in turn, the first of each figure
on the first data set, then on the next, and then what else there is, as far as `WORK` goes: so a large comparison shows
a little of everything. What is left out is said, and `all_figures` draws it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aebench import plots, plugins
from aebench.groups import without_seed
from aebench.reporting.beside import Beside

if TYPE_CHECKING:
    from pandas import DataFrame

    from aebench.reporting.files import Files

STANDARD = (
    "comparison", "rate_distortion", "sparsity", "reconstructions", "pareto", "profiles", "ranks", "denoised",
    "samples", "traversals", "latent", "kl_per_dimension", "curves", "throughput", "tuning", "denoising",
)  # fmt: skip
"""Drawn of every comparison, where they find something to draw; studies of one question are drawn where named."""
ONE_RUN = frozenset({"reconstructions", "denoised", "samples", "traversals", "latent"})
"""Figures that show the run of the lowest seed of each setting, and so are given no other."""
STORED = ONE_RUN | {"kl_per_dimension"}
"""Figures of the standard set that show stored arrays: looked at only where a run has any."""
ACROSS = frozenset({"profiles", "ranks", "tuning", "latent_picture"})
"""Figures that look at all data sets at once; others draw each alone. Of a user's own figure that is not known."""
WORK = 70_000
"""Drawings of a report times its runs: what a drawing costs grows with the runs, and so does all else."""
LEFT_OUT = "this comparison is large, and aebench report --all-figures draws all of it."
TITLES = {
    "beta_sweep": "β sweep", "comparison": "Differences from the best", "comparison_pca": "Differences from PCA",
    "curves": "Terms of the loss", "denoised": "Denoised images", "denoising": "Denoising gain",
    "kl_direction": "Direction of the KL", "kl_per_dimension": "KL per dimension", "latent": "Latent space",
    "losses": "Losses trained and measured", "notes": "Errors by family", "overcomplete": "Wide codes",
    "pareto": "Error against cost", "profiles": "Performance profiles", "ranks": "Mean ranks",
    "rate_distortion": "Rate and distortion", "samples": "Samples from the prior", "sparsity": "Sparsity and error",
    "traversals": "Latent traversals", "tuning": "Draws",
}  # fmt: skip
"""Headings of figures; others go by their names."""
SCREEN = 144
"""Pixels of a screen for an inch of a figure: words of 9 points are then as large as those of the page."""


Open = dict[tuple[str, str], Iterator[plots.Drawing]]
"""Drawings that are still to come, by figure and data set."""


@dataclass(frozen=True)
class Shown:
    """A drawing that lies in the folder of the report."""

    stem: str
    """`figures/<name>`; `.svg` and `.png` are there."""
    caption: str
    alt: str
    data: str
    """The label of the data set, where it shows one."""
    width: int
    height: int
    """Pixels of a screen."""


@dataclass
class Figure:
    """A figure of the report: its drawings, and why others are not there."""

    name: str
    about: str
    named: bool
    """Whether a suite asks for it."""
    drawings: list[Shown] = field(default_factory=list[Shown])
    notes: list[str] = field(default_factory=list[str])

    @property
    def title(self) -> str:
        """Its heading."""
        return TITLES.get(self.name) or self.name.rpartition(":")[2].replace("_", " ").capitalize()

    @property
    def panels(self) -> list[tuple[str, list[Shown]]]:
        """The drawings of each data set, by its label; those that show several come together."""
        found: dict[str, list[Shown]] = {}
        for drawing in self.drawings:
            found.setdefault(drawing.data or "several data sets", []).append(drawing)
        return list(found.items())


def resolve(named: Sequence[str], *, allow_code: bool = False) -> dict[str, Any]:
    """The functions of the figures that the suites name, and of the standard set, in the order of drawing.

    Raises InputError for a figure that is not known, and for code that may not run.
    """
    standard = [name for name in STANDARD if name in plots.FIGURES]
    wanted = dict.fromkeys([*named, *standard])
    return {name: plugins.resolve(plots.FIGURES, "figures", name, allow_code=allow_code) for name in wanted}


def draw(
    functions: Mapping[str, Any],
    named: Sequence[str],
    frame: DataFrame,
    arrays: plots.Arrays,
    files: Files,
    *,
    all_figures: bool = False,
) -> tuple[list[Figure], bool]:
    """Draw and save the figures, and whether that is all there is.

    `frame`: every run; most figures are given those that ended well. `all_figures` draws whatever it costs.
    """
    good = frame[frame["status"] == "ok"]
    if not len(good):
        return [], True
    about = {name: plots.FIGURES.get(name, ("", "a figure of the user's own"))[1] for name in functions}
    figures = {name: Figure(name, line, name in named) for name, line in about.items()}
    lowest, data = _lowest_seeds(good), list(dict.fromkeys(good["data"]))
    stored = any(arrays(run) for run in lowest["id"])
    order = [name for name in functions if figures[name].named]
    order += [name for name in functions if name not in order and (stored or name not in STORED)]
    open_: Open = {}
    for label in data:
        for name in order:
            rows = frame if name in plots.WHOLE else lowest if name in ONE_RUN else good
            if name in plots.FIGURES and name not in ACROSS:
                open_[name, label] = iter(functions[name](rows[rows["data"] == label], arrays))
            elif label == data[0]:
                open_[name, ""] = iter(functions[name](rows, arrays))
    with warnings.catch_warnings(), Beside() as beside:
        # names are the users' own: no font has every letter, and no figure has room for every length
        warnings.filterwarnings("ignore", r"Glyph \d+ .*missing from font|constrained_layout not applied", UserWarning)
        for name, drawing in _in_turn(open_, None if all_figures else WORK // len(frame)):
            figures[name].drawings.append(_saved(drawing, files, beside))
        for name, label in [*open_]:
            begun = label in ("", *(drawing.data for drawing in figures[name].drawings))
            # of what was begun it must be known whether more would come: the next is made, and not saved
            if begun and next(open_[name, label], None) is None:
                del open_[name, label]
    for figure in figures.values():
        figure.drawings.sort(key=lambda drawing: data.index(drawing.data) if drawing.data in data else -1)
        figure.notes += _undrawn(figure, data, open_)
    return [figure for figure in figures.values() if figure.drawings or figure.notes], not open_


def _in_turn(open_: Open, most: int | None) -> Iterator[tuple[str, plots.Drawing]]:
    """A drawing of each in turn, up to so many, but of every figure the first; None: all there are.

    What has no more is taken out of `open_`.
    """
    waiting, drawn = {name for name, _ in open_}, 0
    while open_ and (waiting or most is None or drawn < most):
        for name, label in [*open_]:
            if most is not None and drawn >= most and name not in waiting:
                continue
            if (drawing := next(open_[name, label], None)) is None:
                del open_[name, label]
                waiting &= {name for name, _ in open_}
                continue
            waiting.discard(name)
            drawn += 1
            yield name, drawing


def _lowest_seeds(frame: DataFrame) -> DataFrame:
    """Of each setting the run of the lowest seed."""
    keys = frame["spec"].map(without_seed)
    kept = frame[~keys.loc[frame["seed"].sort_values(kind="stable").index].duplicated().sort_index()]
    kept.attrs = dict(frame.attrs)
    return kept


def _saved(drawing: plots.Drawing, files: Files, beside: Beside) -> Shown:
    from aebench.plots import style

    stem = files.claim("figures", drawing.name, ".png", ".svg")
    beside.do(lambda: style.save(drawing.figure, files.folder / "figures", stem.partition("/")[2]))
    width, height = (round(SCREEN * inches) for inches in drawing.figure.get_size_inches())
    return Shown(stem, drawing.caption, drawing.alt, drawing.data, width, height)


def _undrawn(figure: Figure, data: Sequence[str], open_: Open) -> list[str]:
    """Why a figure, or its part on some data, is not there; a figure that compares data sets names none."""
    shown = {drawing.data for drawing in figure.drawings}
    missing = [] if "" in shown else [label for label in data if label not in shown]
    left = [label for label in missing if {(figure.name, label), (figure.name, "")} & open_.keys()]
    begun = [label for label in ("", *data) if label in shown and (figure.name, label) in open_]
    nothing = [label for label in missing if label not in left and figure.named]
    notes = [f"Left out on {', '.join(left)}: {LEFT_OUT}"] if left else []
    if begun or (not left and shown and (figure.name, "") in open_):
        where = f" on {', '.join(begun)}" if any(begun) else ""
        notes.append(f"Further drawings{where} are left out: {LEFT_OUT}")
    if nothing:
        where = f" on {', '.join(nothing)}" if figure.drawings else ""
        notes.append(f"Nothing to draw{where}: {plots.NEEDS.get(figure.name, 'no run has stored what it shows')}.")
    return notes
