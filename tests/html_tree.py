"""A page as a tree, by the standard library's parser: for tests of what a page says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

VOID = {"meta", "link", "img", "input", "br", "hr"}


@dataclass
class Node:
    tag: str
    attrs: dict[str, str] = field(default_factory=dict)
    parent: Node | None = None
    children: list[Node | str] = field(default_factory=list)

    def all(self, tag: str = "", **attrs: str) -> Iterator[Node]:
        """The elements below this one, in order; an attribute `class_` is one of the classes."""
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attrs.items()}
        for child in self.children:
            if isinstance(child, Node):
                if (not tag or child.tag == tag) and all(child._is(name, value) for name, value in wanted.items()):
                    yield child
                yield from child.all(tag, **attrs)

    def one(self, tag: str = "", **attrs: str) -> Node:
        (found,) = self.all(tag, **attrs)
        return found

    def first(self, tag: str = "", **attrs: str) -> Node:
        return next(self.all(tag, **attrs))

    def _is(self, name: str, value: str) -> bool:
        own = self.attrs.get(name)
        return own is not None and (value in own.split() if name == "class" else value in ("*", own))

    @property
    def text(self) -> str:
        """All text, without what is for screen readers alone."""
        parts = (child if isinstance(child, str) else child.text for child in self.children)
        return "" if "unseen" in self.attrs.get("class", "").split() else "".join(parts)

    @property
    def above(self) -> Iterator[Node]:
        """This element and those around it."""
        node: Node | None = self
        while node is not None:
            yield node
            node = node.parent


class _Builder(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.node = self.root = Node("")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"an attribute of <{tag}> stands twice"
        new = Node(tag, {name: value or "" for name, value in attrs}, self.node)
        self.node.children.append(new)
        if tag not in VOID:  # `<line/>` is opened and closed
            self.node = new

    def handle_endtag(self, tag: str) -> None:
        assert self.node.tag == tag, f"</{tag}> closes <{self.node.tag}>"
        assert self.node.parent is not None
        self.node = self.node.parent

    def handle_data(self, data: str) -> None:
        self.node.children.append(data)


def parse(page: Path | str) -> Node:
    """The tree of a page; every element must be closed where it was opened."""
    builder = _Builder()
    builder.feed(page.read_text(encoding="utf-8") if isinstance(page, Path) else page)
    builder.close()
    assert builder.node is builder.root, f"<{builder.node.tag}> is not closed"
    return builder.root
