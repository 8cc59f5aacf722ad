"""Whether a faster precision gives the same numbers: the same runs in each, metric by metric, paired by seed.

    python tests/benchmarks/precision.py [--device auto] [--seeds 5] [--out FILE]

A metric agrees where the mean difference to fp32 is less than the half width of fp32's own 95 % interval over seeds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

import aebench
from aebench.device import choose, made
from aebench.metrics import METRICS
from aebench.plugins import resolve
from aebench.stats import mean_interval, paired_difference

SUITE = """
name: precision
seeds: {seeds}
data: [digits, {{name: gaussian}}]
network: {{kind: mlp, hidden: [64, 64]}}
train: {{steps: 2000, batch: 128, precision: {precision}}}
runs:
  - {{variant: linear_ae, sizes: {{latent: 4}}}}
  - {{variant: ae, sizes: {{latent: 4}}}}
  - {{variant: denoising_ae, sizes: {{latent: 4}}, hyper: {{sigma: 0.25}}}}
  - {{variant: sparse_l1_ae, sizes: {{latent: 4}}, hyper: {{lam: 0.01}}}}
  - {{variant: contractive_ae, sizes: {{latent: 4}}}}
  - {{variant: linear_vae, sizes: {{latent: 4}}, hyper: {{beta: 0.05}}}}
  - {{variant: vae, sizes: {{latent: 4}}, hyper: {{beta: 0.05}}}}
metrics: [{metrics}]
"""
METRICS_ASKED = ("reconstruction", "energy", "active_units", "sparsity", "denoising")
ASKED = [resolve(METRICS, "metrics", name) for name in METRICS_ASKED]
NUMBERS = [name for metric in ASKED for name in metric.values(metric.options())]
"""The columns that they fill."""
PRECISIONS = {"cpu": ("bf16",), "cuda": ("tf32", "bf16"), "mps": ()}
KEYS = ["data", "variant", "seed"]


def results(precision: str, device: str, seeds: int) -> pd.DataFrame:
    """One row a run, one column a metric."""
    with tempfile.TemporaryDirectory() as folder:
        suite = Path(folder) / "precision.yaml"
        suite.write_text(SUITE.format(precision=precision, seeds=seeds, metrics=", ".join(METRICS_ASKED)))
        return aebench.run(suite, out=folder, device=device, report=False)


def compare(exact: pd.DataFrame, other: pd.DataFrame) -> list[dict[str, Any]]:
    """Each metric of each variant: both means, the difference with its interval, and whether they agree."""
    rows: list[dict[str, Any]] = []
    for key, group in exact.groupby(KEYS[:2]):
        twin = other.set_index(KEYS).loc[[(*key, seed) for seed in group["seed"]]]
        for metric in (name for name in NUMBERS if name in exact):
            a, b = group[metric].to_numpy(float), twin[metric].to_numpy(float)
            if pd.isna(a).any():
                continue
            own, apart = mean_interval(a), paired_difference(b, a)
            half = (own.high - own.low) / 2
            rows.append({
                "data": key[0], "variant": key[1], "metric": metric, "fp32": own.mean, "half_width": half,
                "difference": apart.mean, "low": apart.low, "high": apart.high, "agrees": abs(apart.mean) <= half,
            })  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    place = choose(arguments.device)
    exact = results("fp32", arguments.device, arguments.seeds)
    found: dict[str, Any] = {"made": made(place, "fp32"), "seeds": arguments.seeds}
    for precision in PRECISIONS[place.type]:
        rows = compare(exact, results(precision, arguments.device, arguments.seeds))
        found[precision] = {"agree": sum(row["agrees"] for row in rows), "of": len(rows), "rows": rows}
        print(precision, f"{found[precision]['agree']} of {len(rows)} agree")  # noqa: T201
        for row in rows:
            if not row["agrees"]:
                print("  ", row)  # noqa: T201
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
