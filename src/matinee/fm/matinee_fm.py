"""``MatineeFM``: the best model for the data, in scikit-learn's habits.

One estimator for three ways to train: Bayesian sampling (``mcmc``, which learns its regularisation
and says how sure it is), averaged stochastic gradient descent (``sgd``, the fastest) and the one of
SageMaker (``adam``). The constructor only stores; ``fit`` checks and trains; what is learned ends
in an underscore. A hyperparameter that the chosen solver does not use is refused.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from matinee.fm import artifact, solvers
from matinee.fm.data import Features
from matinee.fm.errors import HyperparameterError
from matinee.fm.estimator import Estimator, OnEpoch
from matinee.fm.hyperparameters import PredictorType
from matinee.fm.matinee_hyperparameters import DEFAULT_SOLVER, MatineeHyperparameters, Solver
from matinee.fm.model import Model
from matinee.fm.posterior import Posterior
from matinee.fm.training import EpochResult


class MatineeFM(Estimator):
    """A Factorization Machine of degree 2 for regression or binary classification.

    ``None`` stands for the solver's own default, where a hyperparameter has one, or for nothing.

    Parameters
    ----------
    num_factors
        Length of each feature's factor vector.
    predictor_type
        ``"regressor"`` or ``"binary_classifier"`` (labels 0 and 1).
    solver
        ``"mcmc"``, ``"sgd"`` or ``"adam"``.
    epochs
        Passes over the records; with ``mcmc`` sweeps of the sampler.
    patience
        Epochs without a lower validation loss after which training stops; None never stops early.
    threads
        Of ``mcmc`` and ``sgd``. The model of ``mcmc`` does not depend on it, that of ``sgd`` does.
    init_sigma
        Of ``mcmc`` and ``sgd``: standard deviation of the initial factors.
    artifact_factors
        Most factors of the resulting model, which is an average of many.
    burn_in
        Of ``mcmc``: sweeps at the beginning that the result forgets.
    field_dims
        Of ``mcmc``: widths of the fields, blocks of consecutive features that mean one thing and
        share their regularisation. None finds them if every record has one feature of each.
    num_samples
        Of ``mcmc``: samples kept for ``predict_std``.
    num_models
        Of ``sgd`` and ``adam``: models trained from seeds of their own and averaged into one.
    learning_rate, regularization
        Of ``sgd``: step size and L2 penalty.
    mini_batch_size, bias_lr, linear_lr, factors_lr, bias_wd, linear_wd, factors_wd
        Of ``adam``: as SageMaker's hyperparameters, see ``FactorizationMachine``.
    random_state
        Seed of all randomness; ``None`` draws one from the operating system.

    Attributes
    ----------
    bias_ : float
    linear_ : ndarray
        float32 (feature_dim,).
    factors_ : ndarray
        float32 (feature_dim, factors of the model).
    samples_ : sequence of Model
        Models drawn by ``mcmc``; none by other solvers.
    """

    def __init__(
        self,
        num_factors: int | None = None,
        predictor_type: PredictorType = "regressor",
        *,
        solver: Solver = DEFAULT_SOLVER,
        epochs: int | None = None,
        patience: int | None = None,
        threads: int | None = None,
        init_sigma: float | None = None,
        artifact_factors: int | None = None,
        burn_in: int | None = None,
        field_dims: Sequence[int] | None = None,
        num_samples: int | None = None,
        num_models: int | None = None,
        learning_rate: float | None = None,
        regularization: float | None = None,
        mini_batch_size: int | None = None,
        bias_lr: float | None = None,
        linear_lr: float | None = None,
        factors_lr: float | None = None,
        bias_wd: float | None = None,
        linear_wd: float | None = None,
        factors_wd: float | None = None,
        random_state: int | None = None,
    ) -> None:
        super().__init__(num_factors, predictor_type)
        self.solver = solver
        self.epochs = epochs
        self.patience = patience
        self.threads = threads
        self.init_sigma = init_sigma
        self.artifact_factors = artifact_factors
        self.burn_in = burn_in
        self.field_dims = field_dims
        self.num_samples = num_samples
        self.num_models = num_models
        self.learning_rate = learning_rate
        self.regularization = regularization
        self.mini_batch_size = mini_batch_size
        self.bias_lr = bias_lr
        self.linear_lr = linear_lr
        self.factors_lr = factors_lr
        self.bias_wd = bias_wd
        self.linear_wd = linear_wd
        self.factors_wd = factors_wd
        self.random_state = random_state

    def fit(
        self,
        X: Features,  # noqa: N803  (scikit-learn's name)
        y: ArrayLike,
        *,
        validation: tuple[Features, ArrayLike] | None = None,
        initial: str | Path | Estimator | None = None,
        on_epoch: Callable[[EpochResult], None] | None = None,
    ) -> Self:
        """Train, from fresh initial parameters or from a model.

        Parameters
        ----------
        X
            CSR matrix or dense array (n, features).
        y
            Labels (n,).
        validation
            Features and labels held out: the model is the best epoch's by them, and with
            ``patience`` training stops early.
        initial
            A trained estimator, or the path of a saved model, to start from.
        on_epoch
            Called after each epoch.

        Raises
        ------
        HyperparameterError, DataError, DivergedError, ArtifactError
            See ``matinee.fm.errors``.
        """
        hyperparameters = MatineeHyperparameters.parse(self._given(X))
        if self.patience is not None and validation is None:
            raise HyperparameterError("'patience' needs validation=(X, y) to stop by")
        posterior = solvers.train(
            hyperparameters,
            X,
            y,
            np.random.default_rng(self.random_state),
            observer=None if on_epoch is None else OnEpoch(on_epoch),
            validation=validation,
            initial=None if initial is None else _read(initial),
        )
        self._keep(posterior.model)
        self.samples_ = posterior.samples
        return self

    def predict_std(self, X: Features) -> NDArray[np.float32]:  # noqa: N803  (scikit-learn's name)
        """Return how unsure the model is of each prediction, which only ``mcmc`` learns.

        Returns
        -------
        ndarray
            float32 (n,): standard deviation of the posterior samples' predictions; how much labels
            themselves vary comes on top.

        Raises
        ------
        DataError
            If X does not fit the model, or the model has no samples.
        """
        return Posterior(self.model, self.samples_).predict_std(X)

    def save(self, path: str | Path) -> None:
        """Write the model and its samples as a ``model_algo-1`` file, whole or not at all."""
        artifact.write(self.model, path, self.samples_)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a model, and its samples if it has any; see ``FactorizationMachine.load``.

        Raises
        ------
        ArtifactError
            If the file is malformed, too large or not a Factorization Machines model.
        """
        loaded = super().load(path)
        loaded.samples_ = artifact.read_samples(path)
        return loaded


def _read(initial: str | Path | Estimator) -> Model:
    return initial.model if isinstance(initial, Estimator) else artifact.read(initial)
