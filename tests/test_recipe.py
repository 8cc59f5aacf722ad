"""The README's recipe, done: another project guards its own models, and a planted fault is named."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from test_environments import BACKEND, PROJECT

README = Path(__file__).parents[1] / "README.md"
MODELS = """
import torch


def build(seed):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(64, 8), torch.nn.ReLU(), torch.nn.Linear(8, 64))


def step(net, x):
    loss = (net(x) - x).square().sum(1).mean()
    loss.backward()
    {more}
    with torch.no_grad():
        for p in net.parameters():
            p -= 1e-3 * p.grad
            p.grad = None
    return loss.detach()


def train(net, x, steps):
    for _ in range(steps):
        loss = step(net, x)
    return float(loss)
"""


def test_the_recipe_names_a_planted_synchronisation(tmp_path):
    section = README.read_text(encoding="utf-8").partition("## Guard your own models")[2]
    written = re.search(r"```python\n# (bench/test_\w+\.py)\n(.*?)```", section, re.DOTALL)
    assert written is not None
    (tmp_path / "bench").mkdir()
    (tmp_path / written[1]).write_text(written[2], encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text(PROJECT.format(name="mymodels", dependencies="[]"))
    (tmp_path / "backend.py").write_text(BACKEND.format(name="mymodels", fault=""))
    own = ("-c", "user.name=someone", "-c", "user.email=someone@localhost")
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    for more in ("pass", "loss.item()"):
        (tmp_path / "mymodels.py").write_text(MODELS.format(more=more))
        subprocess.run(["git", "-C", tmp_path, "add", "."], check=True)
        subprocess.run(["git", "-C", tmp_path, *own, "commit", "-qm", more], check=True)
    command = [sys.executable, "-m", "aebench", "compare", "HEAD^", "HEAD", "--benchmarks", "bench", "--pairs", "1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAIL ")]
    assert failed[1:] == ["FAIL test_model.py::test_step · synchronisations: 0 → 1"]
    assert failed[0].startswith("FAIL test_model.py::test_step · operations: 4")
    assert "loss after 10 steps" not in done.stdout  # it did not change, as the quality did not
