"""What may be trained on, measured and scored: finite float32 features of the right width, labels.

The functions return arrays in the one form that the rest of the package works on, copy only what
has to change, and leave arrays that are mapped from files where they are. Everything else is
refused with the first offending record and value.
"""

import dataclasses
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from matinee.fm.errors import DataError
from matinee.fm.hyperparameters import PredictorType
from matinee.fm.native import kernels

if TYPE_CHECKING:
    import scipy.sparse

NO_LABELS = "records have no label: training and testing need one in every record"

Features: TypeAlias = "scipy.sparse.csr_matrix | SparseRows | NDArray[np.float32]"


@dataclass(frozen=True, slots=True, eq=False)
class SparseRows:
    """A sparse matrix as compressed rows, under SciPy's names but always of the same types.

    Unlike SciPy's it never copies its arrays, and importing it costs nothing.

    Attributes
    ----------
    indptr
        int64 (n + 1,): where each record's values start; the last is where they all end.
    indices
        int32 (number of values,): the feature of each value.
    data
        float32 (number of values,).
    shape
        Number of records and of features.
    all_ones
        Whether every value is known to be 1.
    values_per_record
        How many values each record has, when all are known to have the same number.
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    data: NDArray[np.float32]
    shape: tuple[int, int]
    all_ones: bool = False
    values_per_record: int | None = None

    @classmethod
    def of(cls, matrix: "scipy.sparse.csr_matrix") -> Self:
        """Return any of SciPy's sparse matrices as rows; what has the right type is not copied.

        Raises
        ------
        DataError
            If a key does not fit 32 bits or a value is no number.
        """
        rows = matrix.tocsr()
        records, features = rows.shape
        keys = np.asarray(rows.indices)
        if keys.dtype != np.int32:
            limits = np.iinfo(np.int32)
            wrong = (keys < limits.min) | (keys > limits.max)
            if wrong.any():
                raise DataError(
                    f"sparse features are malformed: key {keys[wrong][0]} does not fit 32 bits"
                )
        return cls(
            np.require(rows.indptr, dtype=np.int64, requirements=["C", "A"]),
            np.require(keys, dtype=np.int32, requirements=["C", "A"]),
            _as_float32(rows.data, "features"),
            (int(records), int(features)),
        )

    def __getitem__(self, records: slice) -> Self:
        """Return consecutive records, without copying them."""
        first, last, step = records.indices(self.shape[0])
        if step != 1:
            raise ValueError(f"records are taken one after another, not in steps of {step}")
        last = max(first, last)
        indptr, shape = self.indptr[first : last + 1], (last - first, self.shape[1])
        return dataclasses.replace(self, indptr=indptr, shape=shape)


def check_features(features: Features, feature_dim: int) -> SparseRows | NDArray[np.float32]:
    """Return features as float32, sparse ones as rows exactly ``feature_dim`` wide.

    Keys come to be strictly increasing in each row: those that a row holds twice are added up.
    Explicit zeros stay: in training they mark a feature as present.

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
    if isinstance(features, SparseRows):
        return _check_sparse(features, feature_dim)
    # Only those who have imported SciPy can have a matrix of its.
    scipy_sparse: Any = sys.modules.get("scipy.sparse")
    if scipy_sparse is not None and scipy_sparse.issparse(features):
        return _check_sparse(SparseRows.of(features), feature_dim)
    dense = _as_float32(features, "features")
    if dense.ndim != 2:
        raise DataError(f"features must have 2 dimensions (records, features), not {dense.ndim}")
    check_width(dense.shape[1], feature_dim, dense=True)
    position = kernels("checking").find_not_finite(dense, dense.size)
    if position >= 0:
        record, feature = divmod(position, feature_dim)
        raise _not_finite(feature, record, dense[record, feature])
    return dense


def check_width(width: int, feature_dim: int, *, dense: bool) -> None:
    """Refuse records that are as wide as no model of ``feature_dim`` takes them.

    Raises
    ------
    DataError
        If dense ones have another width, or sparse ones a larger one.
    """
    if dense and width != feature_dim:
        raise DataError(f"dense records hold {width} values but feature_dim is {feature_dim}")
    if width > feature_dim:
        raise DataError(f"sparse records are {width} wide but feature_dim is {feature_dim}")


def in_key_order(rows: SparseRows) -> SparseRows:
    """Return rows whose keys are strictly increasing, the values of equal keys added up.

    Rows that are so already are returned themselves. Keys and values are not looked at otherwise.
    """
    stored = slice(int(rows.indptr[0]), int(rows.indptr[-1]))
    records = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    keys, values = rows.indices[stored], rows.data[stored]
    in_same_record = records[1:] == records[:-1]
    if not (in_same_record & (keys[1:] <= keys[:-1])).any():
        return rows
    order = np.lexsort((keys, records))
    records, keys = records[order], keys[order]
    first = np.ones(len(keys), dtype=bool)
    first[1:] = (records[1:] != records[:-1]) | (keys[1:] != keys[:-1])
    with np.errstate(over="ignore"):
        sums = np.add.reduceat(values[order], np.flatnonzero(first))
    indptr = np.zeros(rows.shape[0] + 1, dtype=np.int64)
    np.cumsum(np.bincount(records[first], minlength=rows.shape[0]), out=indptr[1:])
    return SparseRows(indptr, keys[first], sums, rows.shape)


def occurrences(rows: SparseRows | NDArray[np.float32]) -> NDArray[np.int64]:
    """Return how many records hold each feature, (feature_dim,)."""
    if isinstance(rows, SparseRows):
        # The arrays of a slice hold other records' values too.
        stored = rows.indices[rows.indptr[0] : rows.indptr[-1]]
        return np.bincount(stored, minlength=rows.shape[1])
    counts: NDArray[np.int64] = (rows != 0).sum(axis=0)
    return counts


def compressed(
    rows: SparseRows | NDArray[np.float32],
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32], bool]:
    """Return checked features as the kernels take them: starts, keys, values, dense.

    Of dense records the keys are those of one record; the values are never copied.
    """
    if isinstance(rows, SparseRows):
        return rows.indptr, rows.indices, rows.data, False
    records, width = rows.shape
    starts = np.arange(0, (records + 1) * width, width, dtype=np.int64)
    return starts, np.arange(width, dtype=np.int32), rows.reshape(-1), True


def check_records(
    features: Features,
    labels: ArrayLike | None,
    feature_dim: int,
    predictor_type: PredictorType,
    purpose: str = "to train",
) -> tuple[SparseRows | NDArray[np.float32], NDArray[np.float32]]:
    """Return features and labels as ``check_features`` and ``check_labels`` do, one or more.

    Raises
    ------
    DataError
        If there are none, or features or labels break a rule.
    """
    rows = check_features(features, feature_dim)
    checked = check_labels(labels, rows.shape[0], predictor_type)
    if not len(checked):
        raise DataError(f"there are no records: at least one is needed {purpose}")
    return rows, checked


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
        raise DataError(NO_LABELS)
    checked = _as_float32(labels, "labels")
    if checked.shape != (records,):
        raise DataError(f"labels have shape {checked.shape}: {records} records need ({records},)")
    if predictor_type == "binary_classifier":
        record = kernels("checking").find_not_binary(checked, records)
        rule = "a binary_classifier needs labels 0 and 1"
    else:
        record = kernels("checking").find_not_finite(checked, records)
        rule = "labels must be finite"
    if record >= 0:
        raise DataError(f"label of record {record} is {checked[record]}: {rule}")
    return checked


def _check_sparse(rows: SparseRows, feature_dim: int) -> SparseRows:
    records, width = rows.shape
    check_width(width, feature_dim, dense=False)
    if len(rows.indptr) != records + 1 or len(rows.indices) != len(rows.data):
        raise DataError(
            f"sparse features are malformed: {records} records with {len(rows.indptr)} bounds, "
            f"{len(rows.indices)} keys and {len(rows.data)} values"
        )
    found = np.zeros(5, dtype=np.int64)
    fault = kernels("checking").check_rows(
        rows.indptr, rows.indices, rows.data, records, len(rows.data), width, found
    )
    record, position, all_ones, increasing, per_record = found.tolist()
    if fault == 1:
        first, last = rows.indptr[record : record + 2].tolist()
        raise DataError(
            f"sparse features are malformed: record {record} goes from {first} to {last} of "
            f"{len(rows.data)} values"
        )
    if fault == 2:
        raise DataError(
            f"sparse features are malformed: key {rows.indices[position]} of record {record} is "
            f"not from 0 to {width - 1}"
        )
    if fault == 3:
        raise _not_finite(rows.indices[position], record, rows.data[position])
    shape = (records, feature_dim)
    if not increasing:
        # Finite values may have an infinite sum; now keys do increase, so this ends.
        return _check_sparse(in_key_order(rows), feature_dim)
    return dataclasses.replace(
        rows,
        shape=shape,
        all_ones=bool(all_ones),
        values_per_record=None if per_record < 0 else per_record,
    )


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
