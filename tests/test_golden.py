"""The numbers of each version of a variant: a change of them asks for a new version.

`python tests/test_golden.py` prints the table anew, for a variant whose version was raised.
"""

from __future__ import annotations

import pytest
import torch

from aebench.feed import Examples
from aebench.networks import MLP, Linear
from aebench.optim import Descent
from aebench.plugins import resolve
from aebench.train import Budget, Setting, train
from aebench.variants import VARIANTS

GOLDEN = {
    ("linear_ae", 1): 0.25535006986809233,
    ("ae", 1): 0.08595409154985797,
    ("denoising_ae", 1): 0.13608508025892638,
    ("linear_vae", 1): 2.700544003969586,
    ("vae", 1): 0.8168746360236017,
    ("beta_vae", 1): 0.851427661161366,
}


def final_loss(name: str) -> tuple[int, float]:
    """Version, and the mean loss of steps 33 to 40 of a run of the variant's defaults, in float64 on the CPU."""
    variant = resolve(VARIANTS, "variants", name)
    x = torch.linspace(0, 1, 60 * 12, dtype=torch.float64).sin().reshape(60, 1, 3, 4)
    network = Linear() if variant.networks else MLP((7,), "tanh")
    sizes = variant.sizes(latent=3)
    trained = train(
        variant, network, sizes, [Setting(3, {}, Descent(lr=1e-2))], Budget(40, 16, precision="fp64"), Examples(x)
    )
    return variant.version, float(trained.curves["loss"][-1, 0])


@pytest.mark.parametrize("name", VARIANTS)
def test_numbers_of_a_version_stay(name):
    version, loss = final_loss(name)
    assert (name, version) in GOLDEN, f"no golden loss of {name} version {version}: {loss!r}"
    assert loss == pytest.approx(GOLDEN[name, version], rel=1e-9), f"raise the version of {name}: its numbers changed"


if __name__ == "__main__":
    for name in VARIANTS:
        version, loss = final_loss(name)
        print(f'    ("{name}", {version}): {loss!r},')  # noqa: T201
