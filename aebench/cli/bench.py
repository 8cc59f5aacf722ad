"""`aebench bench`: throughput of variants and networks on this machine, beside the roofline."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from rich.text import Text

from aebench.cli.printing import err, out
from aebench.errors import InputError

QUICK: dict[str, Any] = {"variants": ("ae", "vae"), "sizes": (1, 8)}
"""What `--quick` times, where nothing else is named."""
STEPS = {"cpu": 32, "mps": 128, "cuda": 256}
UNFINISHED = "-unfinished"
"""Of the names of files that hold what was timed so far; what an earlier command has finished stays beside them."""
Document = Mapping[str, Any]
Row = Mapping[str, Any]


class Axis(StrEnum):
    """What may grow."""

    runs = "runs"
    batch = "batch"
    width = "width"
    examples = "examples"


def bench_command(
    variants: Annotated[list[str] | None, typer.Argument(metavar="VARIANT", help="all by default")] = None,
    network: Annotated[
        list[str], typer.Option("--network", metavar="KIND", help="mlp, or {kind: mlp, hidden: [512]}; again for more")
    ] = [],  # noqa: B006
    data: Annotated[str, typer.Option(help="a data set, or a file of your own")] = "digits",
    runs: Annotated[str, typer.Option(help="runs of a pack, 1 being alone; 1,8,16 by default")] = "",
    steps: Annotated[int | None, typer.Option(min=1, help="of a sample; a multiple of 32; more on a GPU")] = None,
    repeats: Annotated[
        int, typer.Option(min=1, help="samples, each its own training; six at least give a 95 % interval")
    ] = 6,
    batch: Annotated[int, typer.Option(min=1, help="examples in a batch")] = 128,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps")] = "auto",
    precision: Annotated[str, typer.Option(help="as in a suite")] = "fp32",
    grow: Annotated[Axis | None, typer.Option(help="a curve instead: cost as this grows")] = None,
    limit: Annotated[float, typer.Option(min=0, help="seconds that a point of the curve may take")] = 20,
    folder: Annotated[Path | None, typer.Option("--out", help="write JSON, CSV and figures here")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="two variants, alone and eight packed")] = False,
    allow_code: Annotated[bool, typer.Option("--allow-code", help="let names run Python code")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON, for programs")] = False,
) -> None:
    """Time every variant and network, alone and packed, beside what this machine could do at best."""
    from aebench.device import check

    check(device)
    sizes = QUICK["sizes"] if quick and not runs else pack_sizes(runs or "1,8,16")
    if grow and runs:
        raise InputError(f"--runs {runs} does not go with --grow {grow}, which sets the runs itself")
    if grow and quick:
        raise InputError(f"--quick does not go with --grow {grow}, a curve of one variant; --limit 2 makes it short")
    from aebench.bench import Wanted, bench
    from aebench.device import choose
    from aebench.growth import grow as curve
    from aebench.suite.source import compose

    on = choose(device)
    wanted = Wanted(
        variants=tuple(variants or (QUICK["variants"] if quick else ())),
        networks=tuple(compose(text, "--network", lines=False).root for text in network),
        data=data, sizes=sizes, steps=steps or STEPS[on.type], repeats=repeats, batch=batch, precision=precision,
        allow_code=allow_code,
    )  # fmt: skip
    found = timed(partial(curve, grow, wanted, on, limit) if grow else partial(bench, wanted, on), folder)
    if as_json:
        print(json.dumps(found, ensure_ascii=False))  # noqa: T201
    else:
        show(found)
    if folder:
        for path in write(found, folder):
            (err if as_json else out).print(path, soft_wrap=True)
    if found["failed"]:
        raise typer.Exit(1)


def timed(time: Callable[..., Document], folder: Path | None) -> Document:
    """What `bench` or `grow` give. What they have so far is in the folder meanwhile, and stays if interrupted."""
    kept: list[Path] = []

    def keep(found: Document) -> None:
        if folder:
            kept[:] = write_numbers(found, folder, UNFINISHED)

    try:
        with err.status("preparing") as status:
            return time(lambda text: status.update(Text(text)), keep)
    except KeyboardInterrupt:
        said = f"what was timed is in {', '.join(map(str, kept))}" if kept else "nothing is kept"
        err.print(Text(f"interrupted: {said}"), soft_wrap=True)
        raise typer.Exit(130) from None


def pack_sizes(text: str) -> tuple[int, ...]:
    """`1,8,16` as numbers, in order and each once: InputError for anything else."""
    words = text.split(",")
    if not all(word.strip().isdecimal() and int(word) > 0 for word in words):
        raise InputError(f"--runs {text}: write the runs of each pack, such as 1,8,16")
    return tuple(sorted({int(word) for word in words}))


def write(found: Document, folder: Path) -> list[Path]:
    """JSON, CSV and figures of a document, into a folder: the paths."""
    from aebench.plots import style
    from aebench.plots.bench import figures

    paths = write_numbers(found, folder)
    for path in paths:
        path.with_stem(path.stem + UNFINISHED).unlink(missing_ok=True)
    for drawing in figures(found):
        paths += style.save(drawing.figure, folder, drawing.name)
    return paths


def write_numbers(found: Document, folder: Path, mark: str = "") -> list[Path]:
    """JSON and CSV of a document, into a folder, `mark` at the end of their names: the paths."""
    from aebench.bench import as_csv
    from aebench.store import atomic

    stem = f"bench-{found['settings']['axis']}" if found["kind"] == "growth" else "bench"
    texts = {"json": json.dumps(found, indent=1, ensure_ascii=False) + "\n", "csv": as_csv(found)}
    paths: list[Path] = []
    for ending, text in texts.items():
        paths.append(folder / f"{stem}{mark}.{ending}")
        atomic.replace(paths[-1], lambda file, text=text: file.write(text.encode()))
    return paths


class Column(NamedTuple):
    """A column of the table: its head, its texts, and how soon it is left out where there is no room (0: never)."""

    head: str
    texts: Sequence[str]
    dropped: int = 0

    @property
    def width(self) -> int:
        """Characters of its widest line."""
        return max(map(len, [*self.head.split("\n"), *self.texts]))


def show(found: Document) -> None:
    """The tables of a document, and in words how it was measured and what is missing."""
    rows: Sequence[Row] = found["rows"]
    if found["kind"] == "growth":
        settings = found["settings"]
        held = [f"{name} {settings[name]}" for name in ("network", "runs", "batch", "data") if name in settings]
        table(f"{settings['variant']}, {', '.join(held)}", growth_columns(rows, settings["axis"]))
    else:
        for network in dict.fromkeys(row["network"] for row in rows):
            own = [row for row in rows if row["network"] == network]
            table(f"{network} on {found['settings']['data']}", throughput_columns(own))
    for line in notes(found):
        out.print(Text(line, style="dim"))


def throughput_columns(rows: Sequence[Row]) -> list[Column]:
    """One line a variant and pack size."""
    names = [row["variant"] for row in rows]
    once = ["" if i and names[i - 1] == name else name for i, name in enumerate(names)]
    return [
        Column("variant", once),
        Column("runs", [str(row["runs"]) for row in rows]),
        Column("ms per\nrun-step", [interval(row, "ms") for row in rows]),
        Column("packed /\nalone", [interval(row, "ratio") for row in rows]),
        Column("share of\nroofline", [percent(row["share"]) for row in rows]),
        Column("bound by", [row["bound"] for row in rows], 3),
        Column("examples/s", [f"{row['examples_per_s']:,.0f}" for row in rows], 1),
        Column("floor\nµs", [number(row["floor_us"]) for row in rows], 2),
        Column("MFLOP", [number(row["mflops"]) for row in rows], 4),
        Column("MB\nmoved", [number(row["mbytes"]) for row in rows], 5),
        Column("recording\ns", [number(row["compile_s"]) for row in rows], 6),
    ]


def growth_columns(rows: Sequence[Row], axis: str) -> list[Column]:
    """One line a point."""
    times = [[number(row[name]) for name in ("ms", "ms_quartile_1", "ms_quartile_3")] for row in rows]
    memory = [[row[name] for row in rows] for name in ("peak_bytes", "held_bytes")]
    return [
        Column(axis, [f"{row[axis]:,}" for row in rows]),
        Column("ms per step\n[quartiles]", [f"{middle} [{low}, {high}]" for middle, low, high in times]),
        Column("floor\nms", [number(row["floor_ms"]) for row in rows]),
        Column("share of\nroofline", [percent(row["share"]) for row in rows]),
        Column("bound by", [row["bound"] for row in rows], 1),
        *(
            Column(head, [number(None if value is None else value / 1e6) for value in values])
            for head, values in zip(("peak\nMB", "must hold\nMB"), memory, strict=True)
        ),
        Column("ms per\nrun-step", [number(row["ms_run_step"]) for row in rows], 2),
        Column("threads", [str(row["threads"]) for row in rows], 3),
        Column("recording\ns", [number(row["compile_s"]) for row in rows], 4),
    ]


def table(title: str, columns: Sequence[Column]) -> None:
    """Print columns as far as they fit, the others named below; the first is flush left."""
    from rich import box
    from rich.table import Table

    kept = list(columns)
    while sum(column.width + 2 for column in kept) - 2 > out.width and any(column.dropped for column in kept):
        kept.remove(max(kept, key=lambda column: column.dropped))
    grid = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for i, column in enumerate(kept):
        grid.add_column(Text(column.head), justify="right" if i else "left", no_wrap=True)
    for cells in zip(*(column.texts for column in kept), strict=True):
        grid.add_row(*map(Text, cells))
    out.print(Text(title, style="bold"))
    out.print(grid)
    left_out = [column.head.replace("\n", " ") for column in columns if column not in kept]
    if left_out:
        out.print(Text(f"no room for: {', '.join(left_out)} (--out and --json have them)", style="dim"))
    out.print()


def notes(found: Document) -> list[str]:
    """How the numbers came about, and what is missing and why."""
    made, settings = found["made"], found["settings"]
    kind = "medians and quartiles" if found["kind"] == "growth" else "medians [95 % intervals]"
    lines = [f"{kind} of {settings['repeats']} samples of {settings['steps']} steps, {settings['precision']}, batch "
             f"{settings.get('batch', 'as in the table')}; {made['device']}, torch {made['torch']}"]  # fmt: skip
    for m in found["machine"]:
        rates = f"{m['copy_bytes_per_s'] / 1e9:.3g} GB/s copied, {m['matrix_flops_per_s'] / 1e9:.3g} GFLOP/s multiplied"
        lines.append(f"roofline, {m['threads']} thread{'s' if m['threads'] > 1 else ''}: {rates}")
    if any(row["share"] > 1 for row in found["rows"]):
        lines.append("a share above 100 %: the step works in a cache, which is faster than the memory that was timed")
    for what in ("left_out", "failed"):
        reasons: dict[str, list[str]] = {}
        for name, why in found[what].items():
            reasons.setdefault(why, []).append(name)
        lines += [f"{what.replace('_', ' ')}: {', '.join(names)}: {why}" for why, names in reasons.items()]
    return lines


def interval(row: Row, name: str) -> str:
    """A median and its interval, where it has one."""
    from aebench.tables.numbers import MISSING, format_interval

    values = [math.nan if row[key] is None else row[key] for key in (name, f"{name}_low", f"{name}_high")]
    return MISSING if math.isnan(values[0]) else format_interval(*values)


def number(value: float | None) -> str:
    """Three significant digits."""
    from aebench.tables.numbers import MISSING

    if value is None:
        return MISSING
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def percent(share: float) -> str:
    """A share in per cent: two significant digits."""
    return f"{100 * share:.2g} %" if share < 0.995 else f"{100 * share:.0f} %"
