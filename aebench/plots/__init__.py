"""Figures of a suite's results: the table of them. Matplotlib is imported when one is drawn, torch never.

A figure is a function `(frame, arrays) -> Iterator[Drawing]`:

- `frame`: one row a run that ended well, of one suite, and for figures of `WHOLE` also those that did not; the columns
  of `aebench.load` and five more, see `with_documents`;
- `arrays`: run id -> the arrays stored with the run, empty where there are none.

A figure that finds nothing to draw yields nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

Arrays = Callable[[str], Mapping[str, Any]]
"""Run id -> name -> array."""


@dataclass(frozen=True)
class Drawing:
    """One figure and its words, plain text."""

    name: str
    """A file name without its ending: letters, digits, dots, dashes and underscores."""
    caption: str
    """What is drawn, over how many seeds, in which units."""
    alt: str
    """What a reader sees who cannot see it."""
    figure: Figure
    data: str = ""
    """The label of the data set, where it shows one; the report then names those that have no drawing."""


FIGURES = {
    "beta_sweep": (
        "aebench.plots.sweep:beta_sweep",
        "C, U, S and −V against the notes' β = 1 / KL weight, beside closed forms and the notes' rows",
    ),
    "rate_distortion": (
        "aebench.plots.sweep:rate_distortion",
        "latent KL against C over KL weights, beside the Gaussian bound",
    ),
    "latent": ("aebench.plots.latent:latent", "the two most active latents, with the unit circle and the posteriors"),
    "reconstructions": ("aebench.plots.pictures:reconstructions", "test examples and what each run makes of them"),
    "samples": ("aebench.plots.pictures:samples", "draws from the prior, decoded"),
    "curves": ("aebench.plots.curves:curves", "the terms of the loss over training"),
    "notes": ("aebench.plots.notes:notes", "the error of every variant, family by family, beside PCA"),
    "losses": ("aebench.plots.losses:losses", "each reconstruction loss trained against each measured"),
    "denoising": ("aebench.plots.denoising:denoising", "gain against σ tested, a line for each σ trained"),
    "sparsity": ("aebench.plots.sparsity:sparsity", "error against the sparsity of the code"),
    "overcomplete": (
        "aebench.plots.overcomplete:overcomplete",
        "distance from the identity against the width of the code, on the data and off them",
    ),
    "kl_direction": ("aebench.plots.kl_direction:kl_direction", "sparse units against p, by direction and average"),
    "latent_picture": ("aebench.plots.latent_picture:latent_picture", "codes of two latents on the same axes"),
    "denoised": (
        "aebench.plots.denoised:denoised",
        "test images with noise of several σ, and what each run makes of them",
    ),
    "traversals": ("aebench.plots.traversals:traversals", "one code decoded while its most active units move"),
    "kl_per_dimension": ("aebench.plots.kl_per_dimension:kl_per_dimension", "the KL of each latent unit, sorted"),
    "comparison": ("aebench.plots.forest:comparison", "each setting less the best, paired by seed, with intervals"),
    "comparison_pca": ("aebench.plots.forest:comparison_pca", "each setting less PCA, paired by seed, with intervals"),
    "pareto": ("aebench.plots.pareto:pareto", "error against seconds, FLOPs and parameters, with the Pareto front"),
    "throughput": ("aebench.plots.throughput:throughput", "examples per second in training, encoding and decoding"),
    "profiles": ("aebench.plots.profiles:profiles", "settings over the data sets: the share of runs at each score"),
    "ranks": ("aebench.plots.profiles:ranks", "settings over the data sets: mean ranks, and who is told from whom"),
    "tuning": ("aebench.plots.tuning:tuning", "test against validation score of every draw, and the expected best"),
}
"""Figure -> (where its function is, one line)."""
WHOLE = frozenset({"comparison", "comparison_pca", "pareto", "throughput", "profiles", "ranks"})
"""Figures that stand on leaderboards, and so are given every run: who has runs that failed is ranked by none."""
_OVER = "that several data sets rank by squared error, with four seeds or more"
_SWEPT = "it shows runs with a constant KL weight above zero whose C, U, S, V and KL were measured (metric energy)"
_STORED = "and none are stored with these runs; aebench evaluate stores them where there are any"
NEEDS = {
    "beta_sweep": _SWEPT,
    "rate_distortion": _SWEPT,
    "latent": "it shows codes, and none are stored with these runs",
    "reconstructions": "it shows images and points in the plane; reconstructions of other vectors are not drawn",
    "samples": "it shows images and points in the plane that runs with a prior sampled; other vectors are not drawn",
    "curves": "it shows the loss over training, and none is stored with these runs",
    "notes": "it compares three settings or more by their squared error (metric reconstruction)",
    "losses": "it compares runs of one variant trained with two reconstruction losses or more (metric errors)",
    "denoising": "it shows runs with noise σ on the input whose gain was measured (metric denoising)",
    "sparsity": "it shows a sweep whose error and sparsity were measured (metrics reconstruction and sparsity)",
    "overcomplete": "it shows runs whose distance from the identity was measured (metric identity)",
    "kl_direction": "it shows sparse_kl_ae with p swept (metrics activity and reconstruction)",
    "latent_picture": "it shows codes of two latents, and none are stored with these runs",
    "denoised": f"it shows images with noise and their reconstructions, {_STORED}",
    "traversals": f"it shows images decoded from codes that were moved, {_STORED}",
    "kl_per_dimension": f"it shows the KL of the units of random codes, {_STORED}",
    "comparison": "it compares settings that share seeds by error or likelihood (metric reconstruction or nll)",
    "comparison_pca": "it compares settings that share seeds with pca, by their squared error (metric reconstruction)",
    "pareto": "it compares the squared error and the costs of settings (metrics reconstruction and size)",
    "throughput": "it shows examples per second (metric throughput), and none were measured",
    "profiles": f"it scores settings {_OVER}, where references are frozen",
    "ranks": f"it compares settings {_OVER}",
    "tuning": "it shows the draws of a tuned suite (its key tune)",
}
"""Figure -> why it may find nothing to draw."""


def with_documents(frame: DataFrame, documents: Mapping[str, Mapping[str, Any]]) -> DataFrame:
    """`frame` with columns taken from the runs' documents (by id).

    `spec`: the canonical specification of the run; `curves`: `{"step": [...], term: [...]}`; `pack_runs`: how many runs
    shared its training; `trained_on` and `measured_on`: the device and the number of threads, in words.
    """
    specs: list[Any] = [documents[run]["spec"] for run in frame["id"]]
    curves: list[Any] = [documents[run].get("curves") or {} for run in frame["id"]]
    packs = [((documents[run].get("cost") or {}).get("pack") or {}).get("runs") or 1 for run in frame["id"]]
    trained = [_machine(documents[run].get("made")) for run in frame["id"]]
    measured = [_machine(documents[run].get("measured") or documents[run].get("made")) for run in frame["id"]]
    own = {"spec": specs, "curves": curves, "pack_runs": packs, "trained_on": trained, "measured_on": measured}
    return frame.assign(**own)


def _machine(how: Mapping[str, Any] | None) -> str:
    """What times depend on: `cpu, 2 threads`, and how many processes were at work where it was not one."""
    device, threads, processes = ((how or {}).get(name) for name in ("device", "threads", "processes"))
    counted = f"{threads} thread{'' if threads == 1 else 's'}" if threads else ""
    several = f"one of {processes} processes at work" if processes else ""
    return ", ".join(filter(None, (device and str(device), counted, several))) or "a machine that is not recorded"


def file_name(text: str) -> str:
    """A name as part of a file name: letters, digits, dots, dashes and underscores; others become a dash.

    The ending of a file of data goes.
    """
    text = re.sub(r"\.np[yz]$", "", text, flags=re.IGNORECASE)
    return re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-.") or "unnamed"
