"""The closed forms against the numbers of the notes' table, identities and an independent computation."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from aebench import closed_forms as cf
from aebench.errors import InputError

GAUSSIAN = (4.0, 1.0, 0.25)


@pytest.mark.parametrize(
    ("log10_beta", "C", "U", "S", "minus_V"),
    [
        (0.0, 0.405, 0, 0, 0),
        (0.5, 0.316, 0.219, 0.028, 0.495),
        (1.0, 0.100, 0.753, 0.646, 2.80),
        (1.5, 0.0316, 0.922, 1.628, 5.10),
        (2.0, 0.010, 0.975, 2.726, 7.40),
        (2.5, 0.0032, 0.992, 3.860, 9.71),
        (3.0, 0.001, 0.9975, 5.006, 12.01),
    ],
)
def test_two_dimensions_of_the_notes_variance(log10_beta, C, U, S, minus_V):
    exact = cf.linear_vae(cf.NOTES_EIGENVALUES, 8, 10**-log10_beta)
    values = [float(v) for v in (exact.C, exact.U, exact.S, -exact.V)]
    assert values == pytest.approx([C, U, S, minus_V], rel=0.006, abs=5e-4)


def test_gaussian_of_variances_4_1_quarter():
    exact = cf.linear_vae(GAUSSIAN, 3, 1.0)  # c′ = ½
    assert exact.kl == pytest.approx(1.38629, abs=5e-6)
    assert float(exact.C) == pytest.approx(1.25)
    assert exact.active == 2
    assert cf.gaussian_rate(GAUSSIAN, 1.25) == pytest.approx(1.38629, abs=5e-6)


def test_s_plus_u_is_minus_half_v_and_weights_may_have_any_shape():
    b = np.logspace(-5, 1.5, 24).reshape(2, 3, 4)
    exact = cf.linear_vae(GAUSSIAN, 2, b)
    assert exact.C.shape == (2, 3, 4)
    np.testing.assert_allclose(exact.S + exact.U, -exact.V / 2, atol=1e-12)
    np.testing.assert_allclose(
        exact.C, (b / 2) * exact.active + np.select([exact.active == 2, exact.active == 1], [0.25, 1.25], 5.25)
    )


def test_the_optimum_is_a_minimum_over_the_posterior_variances():
    """Minimise SSE + b·KL over diagonal linear encoders by brute force, one dimension at a time."""
    lam, b = 1.0, 0.6
    a, w, s2 = np.meshgrid(np.linspace(0, 1.5, 151), np.linspace(0, 1.5, 151), np.linspace(0.05, 1, 96), indexing="ij")
    sse = lam * (1 - a * w) ** 2 + w**2 * s2  # encoder a, decoder w, posterior variance s2
    kl = 0.5 * (lam * a**2 + s2 - np.log(s2) - 1)
    exact = cf.linear_vae([lam], 1, b)
    assert (sse + b * kl).min() == pytest.approx(float(exact.C + b * exact.kl), rel=1e-3)
    assert (sse + b * kl).min() >= float(exact.C + b * exact.kl)


def test_collapse_at_twice_the_eigenvalue():
    np.testing.assert_allclose(cf.collapse_weights(GAUSSIAN, 2), [8, 2])
    for b, active in [(7.99, 1), (8.01, 0), (1.99, 2), (2.01, 1)]:
        assert cf.linear_vae(GAUSSIAN, 2, b).active == active


def test_linear_vae_meets_the_rate_of_the_source_and_inactive_dimensions_cost():
    b = np.logspace(-4, 0.9, 40)
    full, narrow = cf.linear_vae(GAUSSIAN, 5, b), cf.linear_vae(GAUSSIAN, 1, b)
    np.testing.assert_allclose(full.kl, cf.gaussian_rate(GAUSSIAN, full.C), rtol=1e-9, atol=1e-12)
    assert np.all(narrow.kl <= full.kl)
    assert np.all(narrow.kl >= cf.gaussian_rate(GAUSSIAN, narrow.C) - 1e-12)
    np.testing.assert_array_equal(cf.gaussian_rate(GAUSSIAN, [5.25, 9.0]), [0, 0])


def test_zero_eigenvalues_are_free():
    assert float(cf.linear_vae([1, 0, 0], 3, 0.5).C) == pytest.approx(0.25)
    assert cf.gaussian_rate([1, 0], 0.25) == pytest.approx(np.log(2))


def test_the_notes_rows_lie_near_the_closed_form_where_they_converged():
    for row in cf.NOTES_BETA_SWEEP[2:5]:
        exact = cf.linear_vae(cf.NOTES_EIGENVALUES, 8, 10**-row.log10_beta)
        assert float(exact.U) == pytest.approx(row.U, rel=0.1)
        assert float(exact.C) == pytest.approx(row.C, rel=0.15)


@pytest.mark.parametrize(
    "call",
    [
        lambda: cf.linear_vae([], 2, 1.0),
        lambda: cf.linear_vae([1, -1], 2, 1.0),
        lambda: cf.linear_vae([1, np.nan], 2, 1.0),
        lambda: cf.linear_vae([1, 1], 0, 1.0),
        lambda: cf.linear_vae([1, 1], 2, 0.0),
        lambda: cf.gaussian_rate([1, 1], 0.0),
    ],
)
def test_bad_input_is_one_clear_line(call):
    with pytest.raises(InputError) as error:
        call()
    assert "\n" not in str(error.value)


def test_torch_is_not_imported():
    code = "import sys, aebench.closed_forms; assert not {'torch', 'pandas', 'matplotlib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
