"""Results of a suite -> a page: what was run, what came out, how sure that is, what failed, what it cost.

The page is Markdown with figures and tables beside it, made from stored documents alone: the same results give the
same files, and torch is not needed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aebench import plots, plugins, tables
from aebench.errors import InputError
from aebench.reporting import account
from aebench.reporting.markdown import escape, folded, picture
from aebench.store import Store, atomic
from aebench.store.frame import from_documents

if TYPE_CHECKING:
    import os

    from pandas import DataFrame

    from aebench.store.documents import Document

PAGE = "report.md"
ASIDE = re.compile(r"mse|[USV]|l0_fraction|denoising_gain_db_(?!0\.25).*|parameters|flops_.*|(en|de)code_.*")
"""Values that stand in the second table of a data set: what follows from others, sizes and speeds."""
SHARED = ("train_seconds", "train_examples_per_s", "peak_bytes")
"""What runs have in common that trained together: a spread over them would mean nothing. The cost table has it."""


def report(
    results: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    allow_code: bool = False,
    drawn: Callable[[], None] = lambda: None,
) -> Path:
    """Write `out/report.md`, `out/figures/` and `out/tables/` about one folder of results; the page's path.

    `allow_code` lets a suite's own figures run. `drawn` is called when the figures are there, before the account of
    the time is read from the results: what they took can still be entered. Raises InputError where there are no
    results, and for a figure that is not known.
    """
    store, folder = Store(results), Path(out)
    manifest = store.manifest()
    held = {document["id"]: document for document in store.documents()}
    if manifest is None and not held:
        raise InputError(f"{store.folder}: no results of a suite; run one first")
    manifest = manifest or {"name": store.folder.name, "ids": list(held)}
    names: list[str] = manifest.get("figures") or []
    figures = {name: plugins.resolve(plots.FIGURES, "figures", name, allow_code=allow_code) for name in names}
    documents = [held[run] for run in manifest["ids"] if run in held]
    files: list[str] = []
    parts = [account.head(manifest, documents)]
    if documents:
        frame = from_documents(documents)
        parts += [account.made(documents, frame), *_results(frame, folder, files)]
        parts += _figures(figures, frame, held, store.arrays, folder, files)
        parts += [account.failures(documents, frame), account.problems(store.problems + frame.attrs["problems"])]
        drawn()
        parts.append(account.cost(documents, frame, (store.manifest() or {}).get("commands", [])))
    parts.append(account.again(manifest, documents))
    return _publish(folder, "\n".join(part for part in parts if part), files)


def _publish(folder: Path, text: str, files: Iterable[str]) -> Path:
    """Write the page, then remove what only the page before it showed."""
    page = folder / PAGE
    before = set(_files(page.read_text(encoding="utf-8"))) if page.is_file() else set[str]()
    atomic.replace(page, lambda file: file.write(text.encode()))
    for name in before - set(files):
        with suppress(OSError):
            (folder / name).unlink(missing_ok=True)
    return page


def _files(text: str) -> list[str]:
    """The figures and tables that a page links to."""
    return re.findall(r"\]\(((?:figures|tables)/[A-Za-z0-9._-]+)\)", text)


def _results(frame: DataFrame, folder: Path, files: list[str]) -> list[str]:
    """For each data set the table of what matters, and folded the rest; both whole as CSV."""
    if not frame["status"].eq("ok").any():
        return []
    parts = [
        "## Results\n\nMeans over seeds ± the half-width of a 95 % t interval. ↓ less is better, ↑ more is better.\n"
    ]
    links = [_csv(tables.render(frame, "csv"), "runs", "every run", folder, files)]
    for data in dict.fromkeys(frame["data"]):
        rows = frame[frame["data"] == data]
        measured = [name for name in frame.attrs["values"] if rows[name].notna().any() and name not in SHARED]
        parts.append(f"### {escape(data)}\n")
        if not measured:
            parts.append("No run has ended well.\n")
            continue
        main = [name for name in measured if not ASIDE.fullmatch(name)]
        aside = [name for name in measured if name not in main]
        parts.append(tables.render(tables.summary(rows, metrics=main or aside), "md"))
        if main and aside:
            parts.append(folded("Further numbers", tables.render(tables.summary(rows, metrics=aside), "md")))
        summary = tables.render(tables.summary(rows, metrics=measured), "csv")
        links.append(_csv(summary, f"summary-{plots.file_name(data)}", f"means on {data}", folder, files))
    return [*parts, f"As CSV: {', '.join(links)}.\n"]


def _csv(text: str, name: str, words: str, folder: Path, files: list[str]) -> str:
    name = _unused(f"tables/{name}", ".csv", files)
    atomic.replace(folder / name, lambda file: file.write(text.encode()))
    files.append(name)
    return f"[{escape(words)}]({name})"


def _unused(stem: str, ending: str, files: list[str]) -> str:
    """A name that no file of this page has: two data sets may differ in characters that file names cannot hold."""
    names = (f"{stem}{f'-{n}' if n else ''}{ending}" for n in range(len(files) + 1))
    return next(name for name in names if name not in files)


def _figures(
    figures: Mapping[str, Any],
    frame: DataFrame,
    documents: Mapping[str, Document],
    arrays: plots.Arrays,
    folder: Path,
    files: list[str],
) -> list[str]:
    """Draw the figures, one after another, and show each with its caption."""
    good = frame[frame["status"] == "ok"]
    if not len(good) or not figures:
        return []
    from aebench.plots import style

    good = plots.with_documents(good, documents)
    parts = ["## Figures\n"]
    for name, function in figures.items():
        parts.append(f"### {escape(name)}\n")
        shown: list[str] = []
        for drawing in function(good, arrays):
            stem = _unused(f"figures/{drawing.name}", ".png", files).removesuffix(".png")
            style.save(drawing.figure, folder / "figures", Path(stem).name)
            files += [f"{stem}.png", f"{stem}.svg"]
            parts += [picture(drawing.alt, f"{stem}.png", f"{stem}.svg"), f"{escape(drawing.caption)}\n"]
            shown.append(drawing.data)
        parts += _undrawn(name, list(dict.fromkeys(good["data"])), shown)
    return parts


def _undrawn(name: str, datasets: list[str], shown: list[str]) -> list[str]:
    """Why a figure, or its part on some data, is not there; a figure that compares data sets names none."""
    why = plots.NEEDS.get(name, "no run has stored what this figure shows")
    if not shown:
        return [f"Nothing to draw: {why}.\n"]
    left = [] if "" in shown else [escape(data) for data in datasets if data not in shown]
    return [f"Nothing to draw on {', '.join(left)}: {why}.\n"] if left else []
