"""Linear least squares to the last digits the data hold, and its non-negative form for a few columns.

The columns are scaled to unit length before a Householder QR factorisation, so that k² next to 1 does not
cost six digits, and the solution is refined with residuals summed in extended precision (Björck 1996,
§2.9). Checked against NIST's certified values for Pontius, Wampler1 and Wampler2.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LeastSquaresResult:
    """A least-squares solution with what is known about its error.

    Attributes:
        coefficients: (p,) minimiser of Σ wᵢ (yᵢ − xᵢ·β)².
        covariance: (p, p), s² (XᵀWX)⁻¹ with s² = weighted residual sum of squares / (n − p).
        residual_sd: s, in units of the response when all weights are 1.
        degrees_of_freedom: n − p.
        condition: 2-norm condition number of the weighted design after scaling its columns to length 1.
    """

    coefficients: FloatArray
    covariance: FloatArray
    residual_sd: float
    degrees_of_freedom: int
    condition: float

    @property
    def standard_errors(self) -> FloatArray:
        """(p,) square roots of the covariance's diagonal."""
        return np.sqrt(np.diag(self.covariance))


def design_matrix(k: FloatArray) -> FloatArray:
    """(n, 3) columns k², k, 1 of a quadratic in k."""
    k = np.asarray(k, float)
    return np.column_stack([k**2, k, np.ones_like(k)])


def weighted_least_squares(
    design: FloatArray, response: FloatArray, weights: FloatArray | None = None
) -> LeastSquaresResult:
    """Minimise Σ wᵢ (yᵢ − xᵢ·β)² over β.

    Args:
        design: (n, p) matrix X with n > p.
        response: (n,) vector y.
        weights: (n,) positive weights, 1/σᵢ² up to a factor; all 1 when None.

    Raises:
        ValueError: shapes do not match, n ≤ p, a weight is not positive, or the columns are dependent.
    """
    rows, columns = design.shape
    if response.shape != (rows,):
        raise ValueError(
            f"response must have shape ({rows},) as design has {rows} rows, got {response.shape}"
        )
    if rows <= columns:
        raise ValueError(f"design must have more rows than its {columns} columns, got {rows}")
    root = np.ones(rows) if weights is None else np.sqrt(weights)
    if root.shape != (rows,) or not np.all(root > 0):
        raise ValueError(f"weights must be {rows} positive numbers")
    weighted = design * root[:, None]
    scale = np.linalg.norm(weighted, axis=0)
    if not np.all(scale > 0):
        raise ValueError("design has a column of zeros: its coefficient cannot be determined")
    q, r = np.linalg.qr(weighted / scale)
    condition = float(np.linalg.cond(r))
    if not condition < 1e12:
        raise ValueError(
            f"design's columns are linearly dependent (condition number {condition:.1e} after scaling)"
        )
    exact_design, exact_response = weighted.astype(np.longdouble), (response * root).astype(np.longdouble)
    coefficients = np.zeros(columns)
    for _ in range(3):  # the first pass solves, the others refine
        residual = (exact_response - exact_design @ coefficients.astype(np.longdouble)).astype(np.float64)
        coefficients = coefficients + np.linalg.solve(r, q.T @ residual) / scale
    residual = (exact_response - exact_design @ coefficients.astype(np.longdouble)).astype(np.float64)
    freedom = rows - columns
    variance = float(residual @ residual) / freedom
    inverse = np.linalg.inv(r) / scale[:, None]
    return LeastSquaresResult(
        coefficients, variance * (inverse @ inverse.T), float(np.sqrt(variance)), freedom, condition
    )


def nonnegative_least_squares(
    design: FloatArray, responses: FloatArray, weights: FloatArray | None = None
) -> FloatArray:
    """Minimise Σ wᵢ (yᵢ − xᵢ·β)² over β ≥ 0, exactly, for each of many responses at once.

    The minimiser is the unconstrained one on some subset of the columns, so all 2^p subsets are solved and
    the best feasible one is kept: exact, free of tolerances, and one matrix product a subset.

    Args:
        design: (n, p) matrix with few columns (p ≤ 8).
        responses: (n,) or (m, n).
        weights: (n,) positive weights; all 1 when None.

    Returns:
        (p,) or (m, p) coefficients.
    """
    columns = design.shape[1]
    if columns > 8:
        raise ValueError(f"design must have at most 8 columns, got {columns}")
    root = np.ones(len(design)) if weights is None else np.sqrt(weights)
    target = np.atleast_2d(responses) * root
    weighted = design * root[:, None]
    scale = np.linalg.norm(weighted, axis=0)
    scale[scale == 0] = 1.0
    best = np.zeros((len(target), columns))
    best_cost = np.einsum("mn,mn->m", target, target)
    for size in range(1, columns + 1):
        for subset in map(list, combinations(range(columns), size)):
            part = weighted[:, subset] / scale[subset]
            found = target @ np.linalg.pinv(part).T
            error = target - found @ part.T
            cost = np.einsum("mn,mn->m", error, error)
            better = (found >= 0).all(axis=1) & (cost < best_cost)
            best_cost[better] = cost[better]
            best[better] = 0.0
            rows = np.flatnonzero(better)
            best[rows[:, None], np.array(subset)] = (found / scale[subset])[rows]
    return best[0] if responses.ndim == 1 else best
