"""What the fuzz tests share: how many examples there are, and how trees, texts and bytes are broken.

`AEBENCH_FUZZ=nightly pytest tests/test_fuzz_*.py` is the long profile; without it there are 500 examples over all
tests, the same in each run.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from aebench.errors import InputError

PROFILE = os.environ.get("AEBENCH_FUZZ", "ci")
QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
settings.register_profile(
    "ci", max_examples=500, deadline=None, derandomize=True, database=None, suppress_health_check=QUIET
)
settings.register_profile("nightly", max_examples=20_000, deadline=None, print_blob=True, suppress_health_check=QUIET)


def fuzz(share: float) -> settings:
    """The settings of a test that takes this share of the profile's examples."""
    profile = settings.get_profile(PROFILE)
    return settings(profile, max_examples=max(1, round(profile.max_examples * share)))


WILD = st.sampled_from(
    [
        *(None, True, False, 0, -1, 1, 2**31, 2**63 - 1, 2**63, -(2**64), 10**30, 0.5, -0.0, 1e308, 5e-324),
        *("", " ", "\n", "\0", "\x1b[2J", "​", "‮", "é" * 300, "a" * 5000, "../../etc/passwd", "/dev/zero", "~x/y.npy"),
        *(
            "C:\\x",
            "CON",
            "x:y",
            "{}",
            "{{ 7 * 7 }}",
            "<script>",
            "%s%n",
            "*",
            "&a",
            "!!python/name:os.system",
            "1e999",
        ),
        *([], {}, [[]], [None], {"": None}, {"a": {"a": {"a": {}}}}, {"points": {}}, {"name": []}, list(range(200))),
        {"points": [[0, 1]], "kind": "linear"},
        {"name": "mape", "epsilon": []},
    ]
)
"""Values that somebody may have put where another kind belongs."""
VALUES = WILD | st.text(max_size=20) | st.integers() | st.floats(allow_nan=False, allow_infinity=False)


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value below the root."""
    items = list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree)) if isinstance(tree, list) else []
    return [way for key, value in items for way in ((*path, key), *places(value, (*path, key)))]


def at(tree: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        tree = tree[key]
    return tree


@st.composite
def broken_trees(draw: st.DrawFn, trees: st.SearchStrategy[Any], times: int = 3) -> Any:
    """A tree of which some values were deleted, swapped, replaced, renamed, doubled or buried."""
    tree = copy.deepcopy(draw(trees))
    for _ in range(draw(st.integers(1, times))):
        ways = places(tree)
        if not ways:
            break
        path = draw(st.sampled_from(ways))
        holder, key = at(tree, path[:-1]), path[-1]
        match draw(st.integers(0, 5)):
            case 0:
                del holder[key]
            case 1:
                holder[key] = copy.deepcopy(at(tree, draw(st.sampled_from(ways))))
            case 2 if isinstance(holder, dict):
                holder[draw(st.text(max_size=8) | st.sampled_from(["name", "kind", "points", "values"]))] = holder[key]
            case 3:
                for _ in range(draw(st.integers(1, 40))):
                    holder[key] = [holder[key]]
            case _:
                holder[key] = copy.deepcopy(draw(VALUES))  # those of a list are changed in turn
    return tree


@st.composite
def broken_bytes(draw: st.DrawFn, contents: st.SearchStrategy[bytes]) -> bytes:
    """Bytes of which some were changed, cut, doubled, or replaced by numbers that are a size somewhere."""
    content = bytearray(draw(contents))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        stop = min(len(content), start + draw(st.sampled_from([0, 1, 1, 1, 2, 4, 8, 64])))
        match draw(st.integers(0, 6)):
            case 0:
                content[start:stop] = draw(st.binary(max_size=8))
            case 1:
                content[start:stop] = b""
            case 2:
                content[start:start] = content[start:stop] * draw(st.integers(1, 3))
            case 3:
                del content[start:]
            case 4:
                number = draw(st.sampled_from([0, 1, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1]))
                size = draw(st.sampled_from([1, 2, 4, 8]))
                order = draw(st.sampled_from(["little", "big"]))
                content[start : start + size] = (number % 256**size).to_bytes(size, order)
            case _:
                for place in range(start, stop):
                    content[place] ^= 1 << draw(st.integers(0, 7))
    return bytes(content)


def yaml(value: Any) -> str:
    """A tree in YAML's flow style, which JSON is but for keys that are numbers."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{yaml(key)}: {yaml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(yaml, value)) + "]"
    if isinstance(value, str):  # YAML does not join the halves of a character that JSON writes
        return '"' + "".join(f"\\U{ord(c):08x}" if ord(c) > 0xFFFF else json.dumps(c)[1:-1] for c in value) + '"'
    return json.dumps(value)


def refusal(read: Callable[[], Any], kind: type[Exception] = InputError) -> str:
    """What reading says against its input in one line, or nothing; any other exception is a failure of the test."""
    try:
        read()
    except kind as error:
        return one_line(error)
    return ""


def one_line(error: Exception) -> str:
    """The message of an error, which is one printable line of a bearable length."""
    message = str(error)
    assert message.isprintable(), message
    assert 0 < len(message) <= 1000, message
    return message
