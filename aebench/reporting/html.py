"""Pages as HTML: templates filled with everything escaped, style, script and pictures inside.

A page asks nothing of any network: its Content-Security-Policy allows its own style and script, by their hashes, and
pictures that are written into it.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import io
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from aebench.reporting.boards import ARROWS, SIGNS, full
from aebench.reporting.records import Row

TEMPLATES = Path(__file__).parent / "templates"
LIGHT = 1.3
"""A figure is embedded as SVG where that takes at most so much of its pixels' size."""
WEBP = 16_383
"""Pixels of a side that WebP can hold."""


def page(template: str, **values: Any) -> str:
    """A template as a self-contained page."""
    return _environment().get_template(template).render(**{**_shared(), **values})


def embedded(stem: Path) -> str:
    """A figure as a data URI: `stem.svg`, or the pixels of `stem.png` where these take much less."""
    svg, png = stem.with_name(f"{stem.name}.svg"), stem.with_name(f"{stem.name}.png")
    pixels, kind = _pixels(png)
    return uri(svg.read_bytes(), "image/svg+xml") if svg.stat().st_size <= LIGHT * len(pixels) else uri(pixels, kind)


def _pixels(png: Path) -> tuple[bytes, str]:
    """A picture without loss, as WebP where that can hold it: it takes half of what a PNG takes."""
    from PIL import Image

    with Image.open(png) as picture:
        if max(picture.size) > WEBP:
            return png.read_bytes(), "image/png"
        file = io.BytesIO()
        picture.convert("RGB").save(file, "WEBP", lossless=True, method=0)
        return file.getvalue(), "image/webp"


def uri(content: bytes, kind: str) -> str:
    """Content as a data URI."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def policy(style: str, script: str) -> str:
    """What a page may load: its own style and script, and pictures inside it."""
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)]
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; "
        "base-uri 'none'; form-action 'none'"
    )


@functools.cache
def _environment() -> Environment:
    found = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    found.filters["ticked"] = _ticked
    return found


@functools.cache
def _shared() -> Mapping[str, Any]:
    """What every page has."""
    style, script = ((TEMPLATES / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    own = {"style": Markup(style), "script": Markup(script), "policy": policy(style, script)}
    return {**own, "signs": SIGNS, "arrows": ARROWS, "numbered": _numbered, "root": ""}


def _numbered(row: Row, numbers: int) -> Sequence[tuple[str, str]]:
    """The last cells of a row, and each as a number that can be sorted: in full where the row has it."""
    cells = row.cells[len(row.cells) - numbers :]
    return [*zip(cells, map(full, row.values) if row.values else map(_value, cells), strict=True)]


def _value(cell: str) -> str:
    """A plain number as text; empty where it is none."""
    with suppress(ValueError):
        return f"{float(cell.replace(',', '').replace('−', '-').removesuffix('%').partition(' ')[0]):.9g}"
    return ""


def _ticked(text: str) -> Markup:
    """Text with what stands between backticks as code."""
    parts = [
        Markup("<code>{}</code>").format(part) if i % 2 else escape(part) for i, part in enumerate(text.split("`"))
    ]
    return Markup("").join(parts)
