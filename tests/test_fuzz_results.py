"""Documents, manifests and companions that were damaged or written by others: a table and a line, never a traceback."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzzing import broken_bytes, broken_trees, fuzz, one_line
from hypothesis import example, given
from hypothesis import strategies as st
from synthetic import document

from aebench import tables
from aebench.errors import InputError
from aebench.store import Store, load
from aebench.store.checkup import checkup, set_aside

GOOD, OTHER = document(seed=0), document(seed=1)
KINDS = [
    OTHER,
    document(seed=1, status="diverged"),
    document(seed=1, variant="energy_vae", hyper={"notes_beta": 2.0}),
    document(seed=1, hyper={"beta": {"points": [[0.0, 0.0], [1.0, 1.0]], "kind": "linear"}}),
    OTHER | {"validation": OTHER["metrics"], "cost": OTHER["cost"] | {"pack": {"ids": [OTHER["id"]]}}},
]
TEXTS = [json.dumps(kind).encode() for kind in KINDS]
ARRAYS = {"x": np.arange(40, dtype=np.float32).reshape(4, 10), "labels": np.arange(4), "half": np.ones(9, np.float16)}
WEIGHTS = {"encoder.0.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "step": np.array(3)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Results with one whole run; each example writes its own second run beside it."""
    folder = tmp_path_factory.mktemp("fuzzed")
    Store(folder).publish(GOOD, ARRAYS, WEIGHTS)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def companions(folder: Path) -> dict[str, bytes]:
    paths = (folder / f"{GOOD['id']}.npz", Store(folder).weights_path(GOOD["id"]))
    return {path.suffix: path.read_bytes() for path in paths}


def told(folder: Path) -> None:
    """The good run is in the table with its numbers, whatever lies beside it; what is said is one line each."""
    frame = load(folder, all=True)
    for problem in frame.attrs["problems"]:
        one_line(InputError(problem))
    (row,) = frame[frame["id"] == GOOD["id"]].to_dict("records")
    for name, metric in GOOD["metrics"].items():
        assert row[name] == metric["value"]
    assert (row["status"], row["seed"], row["kl_weight"]) == ("ok", 0, 0.1)
    assert len(frame) in (1, 2)
    tables.render(tables.summary(frame), "md")
    for found in Store(folder).documents():  # what the next run asks of them
        assert set(map(type, found["cost"].get("pack", {}).get("ids", ()))) <= {str}
        assert found["error"] is None or isinstance(found["error"].get("message"), str | None)
    for fault in checkup(folder):
        one_line(InputError(fault.line))


def second(folder: Path, tree: Any) -> Path:
    """Where a document lies whose file has the name that it gives itself, if that can be the name of one."""
    id = tree.get("id") if isinstance(tree, dict) else None
    named = isinstance(id, str) and len(id) == 16 and set(id) <= set("0123456789abcdef") and id != GOOD["id"]
    return folder / f"{id if named else OTHER['id']}.json"


@fuzz(0.1)
@given(tree=broken_trees(st.sampled_from(KINDS)))
@example(tree=OTHER | {"spec": OTHER["spec"] | {"hyper": {"notes_beta": 0}}})
@example(tree=OTHER | {"spec": OTHER["spec"] | {"seed": 2**70}})
@example(tree=OTHER | {"spec": OTHER["spec"] | {"hyper": {"beta": 2**64 - 1}}})
@example(tree=OTHER | {"cost": {"train_seconds": "long"}})
@example(tree=OTHER | {"metrics": {"id": {"value": 1.0}}})
@example(tree=OTHER | {"metrics": {"sse\n": {"value": "x"}}})
def test_broken_documents_leave_the_others_in_the_table(folder: Path, tree: Any):
    path = second(folder, tree)
    path.write_bytes(json.dumps(tree, ensure_ascii=False).encode(errors="surrogatepass"))
    try:
        told(folder)
    finally:
        path.unlink()


@fuzz(0.05)
@given(content=broken_bytes(st.sampled_from(TEXTS)))
@example(content=b'{"schema": 1, "id": 1e999}')
@example(content=TEXTS[0].replace(b"0.1", b"9" * 400))
def test_broken_files_leave_the_others_in_the_table(folder: Path, content: bytes):
    path = folder / f"{OTHER['id']}.json"
    path.write_bytes(content)
    try:
        told(folder)
    finally:
        path.unlink()


@fuzz(0.03)
@given(
    tree=broken_trees(
        st.just(
            {"name": "a", "about": "", "text": "name: a", "ids": [GOOD["id"]], "figures": ["curves"],
             "metrics": ["size"],
             "arguments": ["--smoke"], "commands": [{"when": "now", "seconds": {"train": 1.0}}], "tune": {"draws": 2}}
        )
    )
)  # fmt: skip
def test_a_broken_manifest_leaves_the_documents(folder: Path, tree: Any):
    path = folder / "suite.json"
    path.write_text(json.dumps(tree, ensure_ascii=True))
    try:
        told(folder)
    finally:
        path.unlink()


@fuzz(0.05)
@given(data=st.data(), kind=st.sampled_from([".npz", ".safetensors"]))
def test_broken_companions_are_arrays_or_one_line(
    folder: Path, companions: dict[str, bytes], data: st.DataObject, kind: str
):
    """Where an archive is still read, its arrays have the values that they had: each has a checksum."""
    store = Store(folder)
    path = folder / f"{GOOD['id']}.npz" if kind == ".npz" else store.weights_path(GOOD["id"])
    path.write_bytes(data.draw(broken_bytes(st.just(companions[kind]))))
    try:
        found = store.arrays(GOOD["id"]) if kind == ".npz" else store.weights(GOOD["id"]) or {}
        for name, array in found.items():
            assert math.prod(array.shape) * array.dtype.itemsize <= 100 * path.stat().st_size
            if kind == ".npz" and name in ARRAYS:
                assert np.array_equal(array, ARRAYS[name])
    except InputError as error:
        one_line(error)
    finally:
        for fault in checkup(folder):
            one_line(InputError(fault.line))
        path.write_bytes(companions[kind])


@fuzz(0.01)
@given(contents=st.lists(broken_bytes(st.sampled_from(TEXTS)), min_size=1, max_size=4))
def test_what_is_set_aside_is_all_there(tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]):
    """Whatever lies in a folder, setting aside moves bytes and changes none; after it nothing is damaged."""
    folder = tmp_path_factory.mktemp("aside")
    Store(folder).publish(GOOD, ARRAYS, WEIGHTS)
    for number, content in enumerate(contents):
        (folder / f"{number:016x}.json").write_bytes(content)
    before = sorted(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    set_aside(checkup(folder))
    assert sorted(path.read_bytes() for path in folder.rglob("*") if path.is_file()) == before
    assert not [fault for fault in checkup(folder) if fault.files]
    shutil.rmtree(folder)
