"""What is known about a data set without training: the exact answers and printed rows that a sweep is drawn beside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame

from aebench import closed_forms
from aebench.closed_forms import EnergyView, NotesRow

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Known:
    """Eigenvalues for the closed form of the linear VAE (none where there is none), and the notes' rows."""

    eigenvalues: tuple[float, ...] = ()
    latent: int = 1
    is_data: bool = False
    """Whether these are the eigenvalues of the data, which then is Gaussian, or the stand-in of the notes' total."""
    notes: tuple[NotesRow, ...] = ()

    @property
    def label(self) -> str:
        """The closed form's name in a legend."""
        whose = "of the data" if self.is_data else ", ".join(f"{value:g}" for value in self.eigenvalues)
        return f"closed form: linear VAE, eigenvalues {whose}"

    def linear_vae(self, kl_weight: Floats) -> EnergyView:
        """The closed form at these KL weights."""
        return closed_forms.linear_vae(self.eigenvalues, self.latent, kl_weight)

    def rate(self, C: Floats) -> Floats:
        """The bound R(C) of Gaussian data: nats per example."""
        return closed_forms.gaussian_rate(self.eigenvalues, C)

    def collapses(self) -> list[float]:
        """log₁₀ of the notes' β below which a latent of Gaussian data collapses, each once."""
        if not self.is_data:
            return []
        weights = closed_forms.collapse_weights(self.eigenvalues, self.latent)
        return [float(x) for x in np.unique(-np.log10(weights).round(9))]

    def words(self) -> str:
        """What a caption says about it; starts with a space, or is empty."""
        said = f" Dashed: {self.label}." if self.eigenvalues else ""
        if self.is_data:
            said += " Dotted: the KL weights 2λ at which a latent collapses."
        if self.notes:
            said += f" Open circles: {closed_forms.NOTES_SOURCE}."
        return said


def known(rows: DataFrame) -> Known:
    """What is known about the data set of these runs; nothing unless C is the squared error."""
    specs = list(rows["spec"])
    if any(spec["sizes"].get("reconstruction", "mse") != "mse" for spec in specs):
        return Known()
    data, latent = specs[0]["data"], max(int(spec["sizes"]["latent"]) for spec in specs)
    eigenvalues = data.get("parameters", {}).get("eigenvalues")
    if eigenvalues is not None:
        return Known(tuple(float(value) for value in eigenvalues), latent, is_data=True)
    total = sum(closed_forms.NOTES_EIGENVALUES)
    if data["name"] == "pinwheel" and data.get("parameters", {}).get("variance", total) == total:
        return Known(closed_forms.NOTES_EIGENVALUES, latent, notes=closed_forms.NOTES_BETA_SWEEP)
    return Known()
