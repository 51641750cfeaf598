"""``FactorizationMachine``: train, predict, save and load in scikit-learn's habits.

The constructor only stores; ``fit`` checks and trains; what is learned ends in an underscore. The
hyperparameters and their defaults are SageMaker's. It keeps file order like SageMaker, so shuffle
the records first if their order means something. ``Estimator`` is what every estimator here does
with a trained model.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from matinee.fm import artifact, ranking
from matinee.fm.data import Features, check_labels
from matinee.fm.errors import DataError
from matinee.fm.hyperparameters import Hyperparameters, InitMethod, PredictorType
from matinee.fm.metrics import THRESHOLD
from matinee.fm.model import Model
from matinee.fm.ranking import Ranking
from matinee.fm.training import BatchResult, EpochResult, train


class Estimator:
    """A trained model and what can be done with it, whatever trained it.

    Attributes
    ----------
    bias_ : float
    linear_ : ndarray
        float32 (feature_dim,).
    factors_ : ndarray
        float32 (feature_dim, factors of the model).
    """

    def __init__(self, num_factors: int | None, predictor_type: PredictorType) -> None:
        self.num_factors = num_factors
        self.predictor_type = predictor_type

    def predict(self, X: Features) -> NDArray[np.float32]:  # noqa: N803  (scikit-learn's name)
        """Score records.

        Returns
        -------
        ndarray
            float32 (n,): predicted values of a regressor, probabilities of class 1 of a
            binary_classifier.

        Raises
        ------
        DataError
            If X does not fit the model.
        """
        return self.model.predict(X)

    def score(self, X: Features, y: ArrayLike) -> float:  # noqa: N803  (scikit-learn's name)
        """Return R squared of a regressor, the accuracy of a binary_classifier; 1 is best.

        Raises
        ------
        DataError
            If X or y do not fit the model or are empty.
        """
        model = self.model
        scores = model.predict(X)
        labels = check_labels(y, len(scores), model.predictor_type).astype(np.float64)
        if not len(labels):
            raise DataError("there are no records: at least one is needed to measure a model")
        if model.predictor_type == "binary_classifier":
            return float(np.mean((scores >= THRESHOLD) == (labels == 1)))
        spread = float(np.square(labels - labels.mean()).sum())
        if spread == 0:
            raise DataError("labels are all the same: R squared has no meaning for them")
        return 1 - float(np.square(scores - labels).sum()) / spread

    def top(
        self,
        X: Features,  # noqa: N803  (scikit-learn's name)
        candidates: Features,
        count: int,
        *,
        exclude: "Features | None" = None,
    ) -> Ranking:
        """Rank candidates for each record by the score of both together.

        Parameters
        ----------
        X
            Records (n, features) without the candidates' features: customers, for example.
        candidates
            Records (m, features) of the other features: the whole catalogue.
        count
            How many to return for each record.
        exclude
            CSR matrix (n, m) whose stored entries are pairs that do not count.

        Returns
        -------
        Ranking
            ``candidates`` and ``scores``, both (n, count), the best first; see
            ``matinee.fm.ranking``.

        Raises
        ------
        DataError
            If X, candidates or exclude do not fit the model or each other.
        """
        return ranking.top(self.model, X, candidates, count, exclude=exclude)

    def save(self, path: str | Path) -> None:
        """Write the trained model as a ``model_algo-1`` file, whole or not at all."""
        artifact.write(self.model, path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a model from a ``model_algo-1`` file or a ``model.tar.gz`` that holds one.

        The file knows ``num_factors`` and ``predictor_type``; the other hyperparameters of the
        result are the defaults, whatever the model was trained with.

        Raises
        ------
        ArtifactError
            If the file is malformed, too large or not a Factorization Machines model.
        """
        model = artifact.read(path)
        loaded = cls(model.num_factors, model.predictor_type)
        loaded._keep(model)
        return loaded

    def _given(self, features: Features) -> dict[str, object]:
        """Return the constructor's arguments but for the seed, and the width of the features.

        Raises
        ------
        DataError
            If the features are not two-dimensional.
        """
        shape = np.shape(features)
        if len(shape) != 2:
            raise DataError(
                f"features must have 2 dimensions (records, features), not {len(shape)}"
            )
        given = {
            name: value
            for name, value in vars(self).items()
            if value is not None and name != "random_state" and not name.endswith("_")
        }
        return {"feature_dim": int(shape[1]), **given}

    def _keep(self, model: Model) -> None:
        self.bias_ = model.bias
        self.linear_ = model.linear
        self.factors_ = model.factors

    @property
    def model(self) -> Model:
        """What was learned.

        Raises
        ------
        DataError
            If nothing was.
        """
        if not hasattr(self, "factors_"):
            raise DataError(f"this {type(self).__name__} is not trained: call fit or load first")
        return Model(self.bias_, self.linear_, self.factors_, self.predictor_type)


class FactorizationMachine(Estimator):
    """A Factorization Machine of degree 2 for regression or binary classification.

    Parameters
    ----------
    num_factors
        Length of each feature's factor vector.
    predictor_type
        ``"regressor"`` or ``"binary_classifier"`` (labels 0 and 1).
    epochs, mini_batch_size, bias_lr, ...
        As in the SageMaker Developer Guide, "Factorization Machines Hyperparameters". ``None``
        stands for the documented behaviour without a value. ``feature_dim`` is the width of X.
    random_state
        Seed of the initial parameters; ``None`` draws one from the operating system.

    Attributes
    ----------
    bias_ : float
    linear_ : ndarray
        float32 (feature_dim,).
    factors_ : ndarray
        float32 (feature_dim, num_factors).
    """

    def __init__(
        self,
        num_factors: int = 64,
        predictor_type: PredictorType = "regressor",
        *,
        epochs: int = 1,
        mini_batch_size: int = 1000,
        bias_lr: float = 0.1,
        linear_lr: float = 0.001,
        factors_lr: float = 0.0001,
        bias_wd: float = 0.01,
        linear_wd: float = 0.001,
        factors_wd: float = 0.00001,
        bias_init_method: InitMethod = "normal",
        bias_init_sigma: float = 0.01,
        bias_init_scale: float | None = None,
        bias_init_value: float | None = None,
        linear_init_method: InitMethod = "normal",
        linear_init_sigma: float = 0.01,
        linear_init_scale: float | None = None,
        linear_init_value: float | None = None,
        factors_init_method: InitMethod = "normal",
        factors_init_sigma: float = 0.001,
        factors_init_scale: float | None = None,
        factors_init_value: float | None = None,
        clip_gradient: float | None = None,
        rescale_grad: float | None = None,
        eps: float | None = None,
        random_state: int | None = None,
    ) -> None:
        super().__init__(num_factors, predictor_type)
        self.epochs = epochs
        self.mini_batch_size = mini_batch_size
        self.bias_lr = bias_lr
        self.linear_lr = linear_lr
        self.factors_lr = factors_lr
        self.bias_wd = bias_wd
        self.linear_wd = linear_wd
        self.factors_wd = factors_wd
        self.bias_init_method = bias_init_method
        self.bias_init_sigma = bias_init_sigma
        self.bias_init_scale = bias_init_scale
        self.bias_init_value = bias_init_value
        self.linear_init_method = linear_init_method
        self.linear_init_sigma = linear_init_sigma
        self.linear_init_scale = linear_init_scale
        self.linear_init_value = linear_init_value
        self.factors_init_method = factors_init_method
        self.factors_init_sigma = factors_init_sigma
        self.factors_init_scale = factors_init_scale
        self.factors_init_value = factors_init_value
        self.clip_gradient = clip_gradient
        self.rescale_grad = rescale_grad
        self.eps = eps
        self.random_state = random_state

    def fit(
        self,
        X: Features,  # noqa: N803  (scikit-learn's name)
        y: ArrayLike,
        *,
        on_epoch: Callable[[EpochResult], None] | None = None,
    ) -> Self:
        """Train on records in their order, from fresh initial parameters.

        Parameters
        ----------
        X
            CSR matrix (n, features), trained with lazy Adam, or dense array (n, features), trained
            with ordinary Adam.
        y
            Labels (n,).
        on_epoch
            Called after each epoch.

        Raises
        ------
        HyperparameterError, DataError, DivergedError
            See ``matinee.fm.errors``.
        """
        hyperparameters = Hyperparameters.parse(self._given(X))
        observer = None if on_epoch is None else OnEpoch(on_epoch)
        rng = np.random.default_rng(self.random_state)
        self._keep(train(hyperparameters, X, y, rng, observer))
        return self


class OnEpoch:
    """An observer of epochs alone."""

    def __init__(self, on_epoch: Callable[[EpochResult], None]) -> None:
        self.on_epoch = on_epoch

    def on_batch(self, result: BatchResult) -> None:
        pass
