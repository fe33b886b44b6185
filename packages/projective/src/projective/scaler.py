"""`ProjectiveScaler`: projective decomposition as a scikit-learn transformer (extra `sklearn`).

Column factors and scale come from the training data; each row to be transformed, known or new, gets
its own row factor, so that its root mean square becomes 1. On the training data this is the
scale-invariant form itself, up to the tolerance.
"""

from typing import Any, Self

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from projective.decomposition import (
    DEFAULT_MAX_PASSES,
    DEFAULT_TOLERANCE,
    Decomposition,
    Zeros,
    decompose,
)
from projective.errors import ProjectiveError
from projective.structure import Status


class ProjectiveScaler(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Divide rows and columns by positive factors so that all have root mean square 1.

    Parameters are those of `decompose`, but zeros are missing unless told otherwise, because then
    every training set has a form. NaN is missing and stays; sparse input stays sparse.

    After `fit`: `scale_`, `column_factors_` [n_features], `row_factors_` of the training rows with
    weight, `status_` ("exact" or "limit"), `n_iter_` (passes). With `zeros="observed"` training
    data without a form, such as a column of zeros, is an error that names rows and columns.
    """

    def __init__(
        self,
        *,
        zeros: Zeros = "missing",
        tolerance: float = DEFAULT_TOLERANCE,
        max_passes: int = DEFAULT_MAX_PASSES,
    ) -> None:
        self.zeros = zeros
        self.tolerance = tolerance
        self.max_passes = max_passes

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:  # noqa: N803, ARG002
        """Learn scale and column factors from rows X [n_samples, n_features]."""
        X = self._checked(X, reset=True)  # noqa: N806
        weights = None
        if sample_weight is not None:
            weights = _check_sample_weight(sample_weight, X, ensure_non_negative=True)
            X, weights = X[weights > 0], weights[weights > 0]  # noqa: N806
        result = self._decompose(X, weights)
        self.scale_ = result.scale
        self.column_factors_ = result.column_factors
        self.row_factors_ = result.row_factors
        self.status_ = str(result.status)
        self.n_iter_ = result.convergence.passes
        return self

    def _decompose(self, rows: Any, weights: Any) -> Decomposition:
        result = decompose(
            rows,
            row_weights=weights,
            zeros=self.zeros,
            tolerance=self.tolerance,
            max_passes=self.max_passes,
        )
        if result.status is Status.NONE:
            raise ProjectiveError(result.explanation)
        return result

    def _checked(self, X: Any, *, reset: bool) -> Any:  # noqa: N803
        return validate_data(
            self,
            X,
            reset=reset,
            accept_sparse=("csr", "csc"),
            dtype=(np.float64, np.float32),
            ensure_all_finite="allow-nan",
        )

    def row_factors(self, X: Any) -> Any:  # noqa: N803
        """[n_samples] the row factors that `transform` divides X by, beside scale and columns."""
        check_is_fitted(self)
        return self._row_factors(self._checked(X, reset=False))

    def _row_factors(self, rows: Any) -> Any:
        divided = _columns_times(rows, 1 / self.column_factors_)
        values = divided.data if sparse.issparse(divided) else divided
        largest = float(np.nanmax(np.abs(values), initial=0.0)) or 1.0
        if sparse.issparse(divided):
            divided = divided.tocsr(copy=True)
            divided.data = np.nan_to_num(divided.data / largest) ** 2
            sums = np.asarray(divided.sum(axis=1)).ravel()
        else:
            sums = np.nansum((divided / largest) ** 2, axis=1)
        means = sums / np.maximum(self._observed(rows), 1)
        return np.where(means > 0, np.sqrt(means) * (largest / self.scale_), 1.0)

    def _observed(self, rows: Any) -> Any:
        """[n_samples] how many features count in each row's mean."""
        if not sparse.issparse(rows):
            missing = np.isnan(rows) | ((rows == 0) & (self.zeros == "missing"))
            return rows.shape[1] - missing.sum(axis=1)
        counted = rows.tocsr(copy=True)
        if self.zeros == "missing":
            counted.data = (counted.data != 0) & ~np.isnan(counted.data)
            return np.asarray(counted.sum(axis=1)).ravel()
        counted.data = np.isnan(counted.data)
        return rows.shape[1] - np.asarray(counted.sum(axis=1)).ravel()

    def transform(self, X: Any) -> Any:  # noqa: N803
        """X divided by scale, column factors and each row's own factor; a row of zeros stays."""
        check_is_fitted(self)
        X = self._checked(X, reset=False)  # noqa: N806
        rows = 1 / (self._row_factors(X) * self.scale_)
        return _rows_times(_columns_times(X, 1 / self.column_factors_), rows).astype(X.dtype)

    def inverse_transform(self, X: Any, row_factors: Any = None) -> Any:  # noqa: N803
        """X multiplied by scale, column factors and `row_factors` (1 for all unless given).

        Only with the factors that `row_factors` gave for the original rows are those restored:
        the transformed rows no longer know their size.
        """
        check_is_fitted(self)
        X = self._checked(X, reset=False)  # noqa: N806
        rows = np.ones(X.shape[0]) if row_factors is None else np.asarray(row_factors)
        if rows.shape != (X.shape[0],):
            raise ProjectiveError(f"{X.shape[0]} row factors are wanted, not {rows.shape}.")
        result = _rows_times(_columns_times(X, self.column_factors_), rows * self.scale_)
        return result.astype(X.dtype)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _columns_times(rows: Any, factors: Any) -> Any:
    """Columns multiplied by factors, in double precision."""
    if sparse.issparse(rows):
        return (rows @ sparse.diags_array(factors)).asformat(rows.format)
    return rows * factors


def _rows_times(rows: Any, factors: Any) -> Any:
    """Rows multiplied by factors."""
    if sparse.issparse(rows):
        return (sparse.diags_array(factors) @ rows).asformat(rows.format)
    return rows * factors[:, None]
