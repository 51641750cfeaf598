"""Scores from a running endpoint: the records in as many requests as it takes.

Requests are RecordIO-protobuf and answers JSON, as SageMaker's Factorization Machines have them.
Refuses answers that are not one finite number for each record.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from matinee import recordio
from matinee.workflow.errors import EvaluationError
from matinee.workflow.record_batches import batches
from matinee.workflow.requests import RECORDIO

# Of a request's body: SageMaker takes 6 MB.
MOST_BYTES = 5_000_000
_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class EndpointScores:
    """Asks one endpoint.

    Attributes
    ----------
    endpoint
        Its name.
    runtime
        A boto3 `sagemaker-runtime` client.
    """

    endpoint: str
    runtime: Any

    def __call__(self, features: csr_matrix) -> NDArray[np.float32]:
        """Score records.

        Parameters
        ----------
        features : csr_matrix, shape (n, width)

        Returns
        -------
        ndarray
            float32 (n,).

        Raises
        ------
        EvaluationError
            If an answer is not one finite number for each record.
        """
        answers = [self._ask(features[rows]) for rows in batches(features.indptr, MOST_BYTES)]
        return np.concatenate([np.zeros(0, np.float32), *answers])

    def _ask(self, features: csr_matrix) -> NDArray[np.float32]:
        answer = self.runtime.invoke_endpoint(
            EndpointName=self.endpoint,
            ContentType=RECORDIO,
            Accept=_JSON,
            Body=recordio.encode(features),
        )["Body"].read()
        try:
            scores = [
                float(prediction["score"]) for prediction in json.loads(answer)["predictions"]
            ]
        except (ValueError, KeyError, TypeError) as error:
            raise EvaluationError(
                f"endpoint {self.endpoint} answered {answer[:200]!r}, which has no predictions with"
                " a score each"
            ) from error
        if len(scores) != features.shape[0] or not np.isfinite(scores).all():
            raise EvaluationError(
                f"endpoint {self.endpoint} answered {len(scores)} scores for {features.shape[0]}"
                " records, or some that are no number"
            )
        return np.array(scores, np.float32)
