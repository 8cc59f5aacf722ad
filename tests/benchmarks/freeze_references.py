"""Freeze the references that scores are normalised against, from stored results: aebench/references.json.

python tests/benchmarks/freeze_references.py results/reference/cpu/standard [--out FILE]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import aebench
from aebench.references import FILE, frozen
from aebench.store import Store
from aebench.store.documents import text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="a folder of results: documents of runs")
    parser.add_argument("--out", type=Path, default=Path(aebench.__file__).parent / FILE)
    arguments = parser.parse_args()
    store = Store(arguments.results)
    documents = store.documents()
    if not documents:
        parser.error(f"{arguments.results}: no results")
    tree = frozen(documents)
    arguments.out.write_bytes(text(tree))
    for line in store.problems:
        print(f"left out: {line}")  # noqa: T201
    for label, one in tree["references"].items():
        print(f"{label}: {len(one['measures'])} measures")  # noqa: T201
        for name, measure in one["measures"].items():
            print(f"  {name}: 0 = {measure['zero']:.6g}, 1 = {measure['one']:.6g} ({measure['strong']})")  # noqa: T201


if __name__ == "__main__":
    main()
