"""Which of a customer's ratings a recommendation comes from.

Of a model with the feature `history` each rated video is a feature of its own, and what it adds to
a recommendation is exact: its value times the product of its vector and the recommended video's.

A model without it does not look at ratings when it answers: all that it learned of a customer is
one vector q_u. Were that fitted anew to the customer's training ratings by ridge regression, with
all else as it is,

    q_u = (sum over rated i of q_i q_i' + s I)^-1  sum over rated i of q_i e_i,

e_i being the stars less what the model says without q_u, then <q_u, q_v> would be a sum over the
rated videos: i adds e_i q_v' (...)^-1 q_i. That is how Y. Hu, Y. Koren and C. Volinsky,
"Collaborative Filtering for Implicit Feedback Datasets" (ICDM 2008, section 5) explain
recommendations. It is an attribution, not the model's own computation: s is chosen so that the
refit comes as near to the model's own preferences as it can, and `agreement` says how near. Where
records have more than customer and video, q_i above is the sum of the vectors of all that stands in
the record beside the customer. Refuses nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from matinee.fm.model import Model
from matinee.workflow.catalogue import Catalogue
from matinee.workflow.features import HISTORY, FeatureSpace
from matinee.workflow.rated import RatedBlock

Floats = NDArray[np.float32]

# Customers by whom the strength is chosen, evenly apart.
_SAMPLE = 32
# Tried strengths, in units of a video vector's mean squared length.
_STRENGTHS = np.logspace(-2, 3, 21)
# Numbers of the largest array of a chunk of customers.
_NUMBERS = 1 << 21


class Reasons(NamedTuple):
    """Rated videos that add most to recommendations, the most first.

    Attributes
    ----------
    places
        int64 (customers, candidates, count): place of the rating in the block, -1 where there are
        fewer that add anything.
    contributions
        float32 of the same shape: stars added.
    """

    places: NDArray[np.int64]
    contributions: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Attribution:
    """How the model of a run is explained.

    Attributes
    ----------
    strength
        Of the ridge: s above; None where reasons are exact.
    agreement
        R squared of the refit's preferences for all videos, against the model's own, over the
        customers that the strength was chosen by; 0 if they have none. None where reasons are
        exact.
    """

    strength: float | None
    agreement: float | None
    _model: Model
    _space: FeatureSpace
    _offered: Floats
    _outputs: Floats

    @classmethod
    def fit(cls, model: Model, catalogue: Catalogue) -> Attribution:
        """Prepare the explanation of a model that fits the catalogue; choose the strength."""
        space = catalogue.space
        records = space.encode(videos=np.arange(catalogue.videos.num_rows))
        offered = np.asarray(records @ model.factors)
        outputs = model.predict(records)
        if _offset(space) is not None:
            return cls(None, None, model, space, offered, outputs)
        unit = float(np.square(offered).sum(axis=1).mean()) or 1.0
        strengths = _STRENGTHS * unit
        metric = offered.T.astype(np.float64) @ offered
        missed, spread = np.zeros(len(strengths)), 0.0
        plain = cls(unit, 0.0, model, space, offered, outputs)
        last = catalogue.customers.num_rows - 1
        for customer in np.unique(np.linspace(0, last, _SAMPLE).astype(int)):
            learned = catalogue.rated.block(customer, customer + 1).learned()
            own, rest = plain._regression(np.array([customer]), learned.videos, learned.stars)
            values, vectors = np.linalg.eigh(own[0].T.astype(np.float64) @ own[0])
            turned = vectors.T @ (own[0].T @ rest[0])
            refits = (turned / (np.maximum(values, 0) + strengths[:, None])) @ vectors.T
            vector = model.factors[customer].astype(np.float64)
            missed += np.einsum("sk,kl,sl->s", refits - vector, metric, refits - vector)
            spread += float(vector @ metric @ vector)
        best = int(np.argmin(missed))
        agreement = 1 - float(missed[best]) / spread if spread else 0.0
        return cls(float(strengths[best]), agreement, model, space, offered, outputs)

    def reasons(
        self, first: int, learned: RatedBlock, candidates: NDArray[np.int64], count: int
    ) -> Reasons:
        """Attribute recommendations to training ratings.

        Parameters
        ----------
        first : int
            The first customer of the block.
        learned : RatedBlock
            Training ratings of its customers.
        candidates : ndarray, shape (customers, n)
            Recommended videos; -1 is none.
        count : int
            Most reasons of each.
        """
        lengths = np.diff(learned.bounds)
        shape = (*candidates.shape, count)
        found = Reasons(np.full(shape, -1), np.zeros(shape, np.float32))
        order = np.argsort(lengths, kind="stable")
        order = order[np.searchsorted(lengths[order], 1) :]
        widest = max(self._model.num_factors, candidates.shape[1])
        begin = 0
        while begin < len(order):
            # Of like lengths, so that little is filled up.
            sizes = np.arange(1, len(order) - begin + 1) * lengths[order[begin:]] * widest
            end = begin + max(1, int(np.searchsorted(sizes, _NUMBERS, side="right")))
            self._explain(first, order[begin:end], learned, candidates, found)
            begin = end
        return found

    def _explain(
        self,
        first: int,
        chosen: NDArray[np.int64],
        learned: RatedBlock,
        candidates: NDArray[np.int64],
        found: Reasons,
    ) -> None:
        begins = learned.bounds[chosen]
        lengths = learned.bounds[chosen + 1] - begins
        within = np.arange(lengths.max())
        there = within < lengths[:, None]
        places = np.where(there, begins[:, None] + within, 0)
        rated = learned.videos[places]
        offered = self._offered[candidates[chosen]].transpose(0, 2, 1)
        offset = _offset(self._space)
        if offset is None:
            own, rest = self._regression(first + chosen, rated, learned.stars[places])
            added = self._shares(own * there[:, :, None], offered) * rest[:, :, None]
        else:
            members = self._model.factors[offset + rated]
            added = members @ offered / np.sqrt(lengths).astype(np.float32)[:, None, None]
        added = np.where(there[:, :, None], added, 0).transpose(0, 2, 1)
        count = min(found.places.shape[2], len(within))
        most = np.argsort(-added, axis=2, kind="stable")[:, :, :count]
        best = np.take_along_axis(added, most, axis=2)
        adding = (best > 0) & (candidates[chosen] >= 0)[:, :, None]
        found.places[chosen, :, :count] = np.where(adding, begins[:, None, None] + most, -1)
        found.contributions[chosen, :, :count] = np.where(adding, best, 0)

    def _regression(
        self, customers: NDArray[np.int64], rated: NDArray[np.int32], stars: Floats
    ) -> tuple[Floats, Floats]:
        """Return what stands beside the customers' vectors in their rated records, and the stars
        less what the model says without those vectors: shapes (customers, n, k), (customers, n).
        """
        rated, stars = np.atleast_2d(rated), np.atleast_2d(stars)
        records = self._space.encode(customers)
        vectors = self._model.factors[customers]
        asking = np.asarray(records @ self._model.factors)
        own = self._offered[rated] + (asking - vectors)[:, None, :]
        alone = self._model.predict(records)[:, None] + self._outputs[rated]
        said = alone - self._model.bias + np.einsum("bk,bnk->bn", asking, self._offered[rated])
        return own, (stars - said + np.einsum("bk,bnk->bn", vectors, own)).astype(np.float32)

    def _shares(self, own: Floats, offered: Floats) -> Floats:
        """Return q_i' (...)^-1 q_v, shape (customers, rated, candidates)."""
        # Two ways to write the same: the smaller matrix is solved.
        if own.shape[1] <= own.shape[2]:
            inner = own @ own.transpose(0, 2, 1)
            return np.linalg.solve(self._ridged(inner), own @ offered)
        inner = own.transpose(0, 2, 1) @ own
        return own @ np.linalg.solve(self._ridged(inner), offered)

    def _ridged(self, matrices: Floats) -> Floats:
        diagonal = np.arange(matrices.shape[1])
        matrices[:, diagonal, diagonal] += np.float32(self.strength)
        return matrices


def _offset(space: FeatureSpace) -> int | None:
    """Return the column of the first video of the history block, if there is one."""
    return next((block["offset"] for block in space.blocks if block["name"] == HISTORY), None)
