"""Results of one suite or more -> a report: what was run, what came out, how sure that is, what failed, what it cost.

`index.html` is one self-contained page, `variants/` has one for each variant, `report.md` says the same in Markdown,
with `figures/` and `tables/` beside it. All is made from stored documents alone: the same results give the same files,
and torch is not needed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aebench import comparison, plots, references
from aebench.comparison.budgets import refuse_mixed_budgets
from aebench.reporting import account, figures, html
from aebench.reporting.boards import leaderboard
from aebench.reporting.content import Card, Content, glossary, said
from aebench.reporting.files import Files, usual_place
from aebench.reporting.gathered import Gathered, SharedDict, SharedList, gather, settled
from aebench.reporting.names import isolated, turning
from aebench.reporting.sections import sections
from aebench.reporting.summaries import write_tables
from aebench.reporting.variants import explained, variant_page
from aebench.reporting.written import written

if TYPE_CHECKING:
    from pandas import DataFrame

    from aebench.tuning import Choice

__all__ = ["report", "usual_place"]


def report(
    results: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    allow_code: bool = False,
    all_figures: bool = False,
    figure_files: bool = True,
    drawn: Callable[[], None] = lambda: None,
) -> Path:
    """Write a report about a folder of results, or about several that were run under one budget; its page's path.

    `allow_code` lets a suite's own figures run; `all_figures` draws all there is of a large comparison; without
    `figure_files` figures are in the page alone, and no files of them lie beside it. `drawn` is
    called when the figures are there, before the account of the time is read from the results: what they took can
    still be entered. Raises InputError where there are no results, for a figure that is not known, and where folders
    were not run under the same budget.
    """
    found, files = gather(results), Files(Path(out))
    functions = figures.resolve(found.figures, allow_code=allow_code)
    if len(found.folders) > 1:
        refuse_mixed_budgets(*_budgets(found))
    with settled():
        content = replace(_begun(found), figure_files=figure_files)
        if found.documents:
            compared = _compared(found)
            links = write_tables(compared.frame, files)
            pictures, complete = _figures(functions, found, compared, files, all_figures)
            drawn()
            content = replace(content, complete=complete, tables=links)
            content = _filled(content, found, compared, pictures, files)
            content = _with_variants(content, found, compared.boards, files)
        embed = lambda drawing: html.embedded(files.folder / drawing.stem)  # noqa: E731
        page = html.page("index.html", title=content.title, content=content, embedded=embed)
        if not figure_files:
            files.drop("figures")
        return files.publish(written(content), page)


@dataclass(frozen=True)
class _Compared:
    """The runs that are compared: of suites that tune those of the chosen draws, of others all."""

    frame: DataFrame
    told: DataFrame
    """The same with what figures and comparisons need."""
    choices: Sequence[Choice]
    boards: Sequence[comparison.Board]
    ranking: comparison.Ranking | None


def _budgets(found: Gathered) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    """The documents of each folder, and how it was tuned."""
    names = {str(folder.store.folder): folder for folder in found.folders}
    tunes = {name: folder.manifest.get("tune") or {} for name, folder in names.items()}
    return {name: list(folder.documents.values()) for name, folder in names.items()}, tunes


def _begun(found: Gathered) -> Content:
    """What can be said without a run."""
    documents = found.documents.values()
    good = sum(document["status"] == "ok" for document in documents)
    return Content(found.name, found.about, account.counted(found.total, documents), good, account.again(found.folders))


def _compared(found: Gathered) -> _Compared:
    frame = found.frame
    choices: list[Choice] = []
    for folder in found.folders:
        if tune := folder.manifest.get("tune"):
            from aebench.tuning import chosen

            frame, own = chosen(frame, tune)
            choices += own
    told = plots.with_documents(frame, found.documents)
    if choices:
        from aebench.tuning import told_apart

        told = told_apart(told, choices)
        told.attrs["values"] = SharedDict(told.attrs["values"])
    ranking = comparison.ranking(told, references.load())
    told.attrs |= {"choices": SharedList(choices), "ranking": SharedList([ranking])}  # what figures need not make again
    return _Compared(frame, told, choices, comparison.boards(told), ranking)


def _figures(
    functions: Mapping[str, Any], found: Gathered, compared: _Compared, files: Files, all_figures: bool
) -> tuple[list[figures.Figure], bool]:
    """Draw what the runs show; whether that is all there is."""
    return figures.draw(functions, found.figures, compared.told, found.arrays, files, all_figures=all_figures)


def _filled(
    content: Content,
    found: Gathered,
    compared: _Compared,
    pictures: Sequence[figures.Figure],
    files: Files,
) -> Content:
    """What the runs say."""
    documents, boards, told = list(found.documents.values()), compared.boards, compared.told
    runs = {entrant.key: entrant.ids for board in boards for entrant in board.entrants}
    several = len(found.folders) > 1
    went = (account.went(folder.commands(), folder.name if several else "") for folder in found.folders)
    costs = [*filter(None, went), account.cost(documents, found.frame)]
    curves, ranking = comparison.curve_comparisons(told), compared.ranking
    pages = {name: f"{files.claim('variants', name, '.html')}.html" for name in dict.fromkeys(found.frame["variant"])}
    return replace(
        content,
        facts=account.facts(documents, found.frame, len(runs)),
        claims=said(comparison.claims(told, boards), boards) if content.good else (),
        boards=tuple(map(leaderboard, boards)) if content.good else (),
        glossary=glossary(boards),
        sections=sections(pictures, curves, ranking, compared.choices, costs, runs),
        cards=tuple(Card(name, explained(name)[0], page) for name, page in pages.items()),
        failures=account.failures(documents, found.frame),
        problems=tuple(found.problems),
    )


def _with_variants(content: Content, found: Gathered, boards: Sequence[comparison.Board], files: Files) -> Content:
    """Write the page of each variant; the content as pages show it, with names that turn a text around isolated."""
    names = turning(found)
    shown = isolated(content, names)
    for card in content.cards:
        own = isolated(variant_page(card.name, boards, content, found), names)
        files.write(card.page, html.page("variant.html", title=own.name, content=shown, variant=own, root="../"))
    return shown
