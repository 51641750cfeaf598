"""What may be trained on, measured and scored: finite float32 features of the right width, labels.

The functions return arrays in the one form that the rest of the package works on and copy only what
has to change. Everything else is refused with the first offending record and value.
"""

from typing import TypeAlias

import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike, NDArray

from matinee.fm.errors import DataError
from matinee.fm.hyperparameters import PredictorType

Features: TypeAlias = "scipy.sparse.csr_matrix | NDArray[np.float32]"


def check_features(features: Features, feature_dim: int) -> Features:
    """Return features as float32, sparse ones as canonical CSR exactly ``feature_dim`` wide.

    Keys that a row holds twice are added up. Explicit zeros stay: in training they mark a feature
    as present.

    Parameters
    ----------
    features
        Sparse matrix (n, at most feature_dim) or dense array (n, feature_dim).
    feature_dim
        Number of features the model knows.

    Raises
    ------
    DataError
        If features are not two-dimensional, too wide, malformed, NaN or infinite.
    """
    if scipy.sparse.issparse(features):
        return _check_sparse(features, feature_dim)
    dense = _as_float32(features, "features")
    if dense.ndim != 2:
        raise DataError(f"features must have 2 dimensions (records, features), not {dense.ndim}")
    if dense.shape[1] != feature_dim:
        raise DataError(
            f"dense records hold {dense.shape[1]} values but feature_dim is {feature_dim}"
        )
    finite = np.isfinite(dense)
    if not finite.all():
        record, feature = (int(index) for index in np.argwhere(~finite)[0])
        raise _not_finite(feature, record, dense[record, feature])
    return dense


def check_labels(
    labels: ArrayLike | None, records: int, predictor_type: PredictorType
) -> NDArray[np.float32]:
    """Return labels as float32 (records,).

    Raises
    ------
    DataError
        If there are none, their number is not ``records``, one is NaN or infinite, or one is
        neither 0 nor 1 for a binary_classifier.
    """
    if labels is None:
        raise DataError("records have no label: training and testing need one in every record")
    checked = _as_float32(labels, "labels")
    if checked.shape != (records,):
        raise DataError(f"labels have shape {checked.shape}: {records} records need ({records},)")
    wrong = ~np.isfinite(checked)
    rule = "labels must be finite"
    if predictor_type == "binary_classifier":
        wrong = (checked != 0) & (checked != 1)
        rule = "a binary_classifier needs labels 0 and 1"
    if wrong.any():
        record = int(np.flatnonzero(wrong)[0])
        raise DataError(f"label of record {record} is {checked[record]}: {rule}")
    return checked


def _check_sparse(features: scipy.sparse.csr_matrix, feature_dim: int) -> scipy.sparse.csr_matrix:
    rows = scipy.sparse.csr_matrix(features)
    if rows.shape[1] > feature_dim:
        raise DataError(f"sparse records are {rows.shape[1]} wide but feature_dim is {feature_dim}")
    try:
        # Compiled loops index with these unchecked.
        rows.check_format(full_check=True)
    except ValueError as error:
        raise DataError(f"sparse features are malformed: {error}") from error
    values = _as_float32(rows.data, "features")
    wrong = ~np.isfinite(values)
    if wrong.any():
        position = int(np.flatnonzero(wrong)[0])
        record = int(np.searchsorted(rows.indptr, position, side="right")) - 1
        raise _not_finite(rows.indices[position], record, values[position])
    checked = scipy.sparse.csr_matrix(
        (values, rows.indices, rows.indptr), shape=(rows.shape[0], feature_dim)
    )
    if not checked.has_canonical_format:
        checked = checked.copy()
        checked.sum_duplicates()
    return checked


def _not_finite(feature: int, record: int, value: float) -> DataError:
    return DataError(f"feature {feature} of record {record} is {value}: values must be finite")


def _as_float32(values: ArrayLike, what: str) -> NDArray[np.float32]:
    # Overflow becomes an infinity, which the callers refuse by name.
    with np.errstate(over="ignore"):
        try:
            # Aligned and contiguous: what compiled loops take.
            return np.require(values, dtype=np.float32, requirements=["C", "A"])
        except (TypeError, ValueError) as error:
            raise DataError(f"{what} must be numbers: {error}") from error
