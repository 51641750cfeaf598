"""The training rules again, written for reading: float64, dense arrays, one formula a line."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from matinee.fm.hyperparameters import Hyperparameters

Floats = NDArray[np.float64]


@dataclass
class Parameters:
    bias: Floats  # ()
    linear: Floats  # (d,)
    factors: Floats  # (d, k)


def initial(given: Hyperparameters, seed: int) -> Parameters:
    """What normal initialisation draws: bias, linear, factors, in this order."""
    rng = np.random.default_rng(seed)
    d, k = given.feature_dim, given.num_factors
    bias, linear, factors = (
        (rng.standard_normal(shape, dtype=np.float32) * np.float32(sigma)).astype(np.float64)
        for shape, sigma in (
            ((1,), given.bias_init_sigma),
            ((d,), given.linear_init_sigma),
            ((d, k), given.factors_init_sigma),
        )
    )
    return Parameters(
        bias[0] if given.use_bias else np.zeros(()),
        linear if given.use_linear else np.zeros(d),
        factors,
    )


def output(parameters: Parameters, x: Floats) -> Floats:
    """f(x) of rows (n, d), from the definition: a sum over pairs."""
    d = x.shape[1]
    scores = parameters.bias + x @ parameters.linear
    for i in range(d):
        for j in range(i + 1, d):
            scores = scores + (parameters.factors[i] @ parameters.factors[j]) * x[:, i] * x[:, j]
    return scores


def predict(parameters: Parameters, x: Floats, given: Hyperparameters) -> Floats:
    raw = output(parameters, x)
    return raw if given.predictor_type == "regressor" else 1 / (1 + np.exp(-raw))


def gradients(
    parameters: Parameters, x: Floats, y: Floats, given: Hyperparameters
) -> tuple[Floats, Floats, Floats]:
    """Batch sums for bias, linear and factors."""
    g = predict(parameters, x, given) - y
    v = parameters.factors
    of_factors = x.T @ (g[:, None] * (x @ v)) - ((x**2).T @ g)[:, None] * v
    return g.sum(), x.T @ g, of_factors


def train(
    given: Hyperparameters, x: Floats, stored: NDArray[np.bool_], y: Floats, seed: int
) -> tuple[Parameters, list[Floats]]:
    """Train; return the parameters and each epoch's predictions, padding included.

    ``stored`` says which features a record holds: they move, even by a value of 0.
    """
    p = initial(given, seed)
    names = ("bias", "linear", "factors")
    m = {name: np.zeros_like(getattr(p, name)) for name in names}
    s = {name: np.zeros_like(getattr(p, name)) for name in names}
    size = given.mini_batch_size
    batches = -(-len(y) // size)
    padding = batches * size - len(y)
    x = np.vstack([x, np.zeros((padding, x.shape[1]))])
    stored = np.vstack([stored, np.zeros((padding, x.shape[1]), dtype=bool)])
    y = np.concatenate([y, np.zeros(padding)])
    rescale = 1 / size if given.rescale_grad is None else given.rescale_grad
    eps = 1e-8 if given.eps is None else given.eps
    step = 0
    predictions = []
    for _ in range(given.epochs):
        epoch = []
        for batch in range(batches):
            rows = slice(batch * size, (batch + 1) * size)
            epoch.append(predict(p, x[rows], given))
            sums = dict(zip(names, gradients(p, x[rows], y[rows], given), strict=True))
            moving = stored[rows].any(axis=0)
            step += 1
            correction = np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
            for name in names:
                if not getattr(given, f"use_{name}", True):
                    continue
                old = getattr(p, name)
                grad = rescale * sums[name] + given.wd * getattr(given, f"{name}_wd") * old
                if given.clip_gradient is not None and given.clip_gradient > 0:
                    grad = np.clip(grad, -given.clip_gradient, given.clip_gradient)
                m_new = 0.9 * m[name] + 0.1 * grad
                s_new = 0.999 * s[name] + 0.001 * grad**2
                rate = given.learning_rate * getattr(given, f"{name}_lr") * correction
                new = old - rate * m_new / (np.sqrt(s_new) + eps)
                if name == "bias":
                    m[name], s[name], p.bias = m_new, s_new, new
                else:
                    m[name][moving] = m_new[moving]
                    s[name][moving] = s_new[moving]
                    old[moving] = new[moving]
        predictions.append(np.concatenate(epoch))
    return p, predictions
