"""What the page shows for what it is asked: found in the runs, loaded, recommended.

Apart from the page, as it needs much that a server whose page nobody opens should not load. Refuses
what `runs` and `Recommender` refuse.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any

import boto3
import numpy as np
from botocore.config import Config

from matinee.explorer.recommenders import Recommenders
from matinee.workflow.catalogue import Catalogue
from matinee.workflow.objects import Objects

_EXAMPLES = 12
_MOST_FOUND = 20


class Answers:
    """Answers for one server; for many threads.

    Parameters
    ----------
    settings
        How the server's S3 is reached: `endpoint_url`, `region` and keys.
    """

    def __init__(self, settings: Mapping[str, str | None]) -> None:
        self._settings = settings
        self._recommenders = Recommenders(Objects(self._client("s3", settings["endpoint_url"])))

    def answer(
        self, sagemaker_url: str, customer: str, run: str, count: int, turn: int
    ) -> dict[str, Any]:
        """Return what the template needs.

        Parameters
        ----------
        sagemaker_url : str
            Where SageMaker listens.
        customer : str
            An id or how it begins; empty: nobody.
        run : str
            A run's name; empty: the one in service, else the latest.
        count : int
            How many videos at most.
        turn : int
            Which example customers.

        Raises
        ------
        WorkflowError
            If there is no such run, or it is not as it was left.
        """
        with closing(self._client("sagemaker", sagemaker_url)) as sagemaker:
            found_run = self._recommenders.run(run, sagemaker)
        recommender = self._recommenders.of(found_run)
        catalogue = recommender.catalogue
        return {
            "run": found_run,
            "found": recommender.recommend(customer, count) if customer else None,
            "alike": catalogue.customers_like(customer, _MOST_FOUND) if customer else [],
            "examples": _examples(catalogue, turn),
            "turn": turn,
            "customers": catalogue.customers.num_rows,
            "videos": catalogue.videos.num_rows,
        }

    def _client(self, service: str, endpoint: str | None) -> Any:
        session = boto3.Session(
            aws_access_key_id=self._settings["access_key"],
            aws_secret_access_key=self._settings["secret_key"],
            aws_session_token=self._settings["token"],
            region_name=self._settings["region"],
        )
        config = Config(
            connect_timeout=5,
            read_timeout=30,
            proxies={},
            s3={"addressing_style": "path"} if endpoint else None,
        )
        return session.client(service, endpoint_url=endpoint, config=config)


def _examples(catalogue: Catalogue, turn: int) -> list[str]:
    """Return some customers, others at every turn."""
    customers = catalogue.customers.num_rows
    few = min(_EXAMPLES, customers)
    chosen = np.random.default_rng(turn).choice(customers, few, replace=False)
    return [catalogue.customer_id(int(index)) for index in np.sort(chosen)]
