"""Least squares against NIST's certified digits (Statistical Reference Datasets, linear regression)."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from profiler.fit.least_squares import weighted_least_squares
from profiler.fit.quadratic import design_matrix, fit_quadratic

NIST = Path(__file__).parent / "nist"
DIGITS = 1e-9  # nine digits


@pytest.fixture(scope="module")
def pontius() -> tuple[np.ndarray, np.ndarray]:
    y, x = np.loadtxt(NIST / "pontius.csv", delimiter=",", skiprows=3, unpack=True)
    return x, y


def test_pontius_coefficients_errors_and_r2_to_nine_digits(pontius: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = pontius
    found = weighted_least_squares(design_matrix(x)[:, ::-1], y)
    certified = [0.673565789473684e-03, 0.732059160401003e-06, -0.316081871345029e-14]
    errors = [0.107938612033077e-03, 0.157817399981659e-09, 0.486652849992036e-16]
    np.testing.assert_allclose(found.coefficients, certified, rtol=DIGITS)
    np.testing.assert_allclose(found.standard_errors, errors, rtol=DIGITS)
    assert found.residual_sd == pytest.approx(0.205177424076185e-03, rel=DIGITS)
    assert found.degrees_of_freedom == 37
    left = y - design_matrix(x)[:, ::-1] @ found.coefficients
    assert 1 - (left @ left) / ((y - y.mean()) ** 2).sum() == pytest.approx(0.999999900178537, rel=DIGITS)


@pytest.mark.parametrize("step", [Fraction(1), Fraction(1, 10)], ids=["Wampler1", "Wampler2"])
def test_wampler_quintics_to_nine_digits(step: Fraction) -> None:
    """y = Σ (step·x)^i for i = 0…5 at x = 0…20, exactly; NIST certifies βᵢ = stepⁱ and errors of 0."""
    x = np.arange(21.0)
    y = np.array([float(sum((step * int(value)) ** i for i in range(6))) for value in x])
    found = weighted_least_squares(np.vander(x, 6, increasing=True), y)
    certified = np.array([float(step**i) for i in range(6)])
    np.testing.assert_allclose(found.coefficients, certified, rtol=DIGITS)
    np.testing.assert_array_less(found.standard_errors / certified, DIGITS)


def test_the_latency_fit_refuses_pontius_negative_curvature(pontius: tuple[np.ndarray, np.ndarray]) -> None:
    """The certified k² coefficient is negative: a latency model holds it at 0 and says so."""
    x, y = pontius
    fit = fit_quadratic(x, y, draws=0)
    assert fit.coefficients[0] == 0.0
    assert any("a was held at 0" in finding for finding in fit.findings)
