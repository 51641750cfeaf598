"""Training on several hosts at once: in each step every host adds up a mini-batch of its own.

Synchronous and data-parallel, as MXNet's ``dist_sync``: the hosts' gradients are added up and
divided by ``mini_batch_size`` times the number of hosts, and all take the same step, so that all
have the same parameters at any time. On ``n`` hosts that hold every ``n``-th record each, training
is that of one host with mini-batches ``n`` times as large. A host's last short batch is filled up
as on one host; once a host's records are used up it adds nothing until the epoch ends.
"""

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from matinee.fm.data import SparseRows
from matinee.fm.errors import DataError
from matinee.fm.hosts import Hosts, HostsError, gather
from matinee.fm.hyperparameters import Hyperparameters
from matinee.fm.layout import Records, Rules, State, most_values
from matinee.fm.metrics import Totals
from matinee.fm.model import Model
from matinee.fm.native import kernels
from matinee.fm.training import BatchResult, Observer, diverged, trained_model

# Of the gradients of one step.
_LARGEST_MESSAGE = 1 << 30
_HEADER = struct.Struct("<If")


@dataclass(frozen=True, slots=True)
class Plan:
    """What the hosts have to know of each other's records.

    Attributes
    ----------
    records
        Of all hosts.
    steps
        Of an epoch: as many as the host with most mini-batches has.
    dense
        Whether every record holds every feature.
    slots
        The most features whose gradients are added up in a step.
    """

    records: int
    steps: int
    dense: bool
    slots: int


def agree(
    hosts: Hosts,
    given: Hyperparameters,
    features: SparseRows | NDArray[np.float32],
    labels: NDArray[np.float32],
) -> Plan:
    """Tell the other hosts of this one's records, of which there may be none.

    Raises
    ------
    DataError
        On every host, if none has records, if one's are dense and another's sparse, or if the
        gradients of a step are too many to be sent.
    HostsError
        If a host is lost or has failed.
    """
    records = Records.of(features, labels)
    values = most_values(records, given.mini_batch_size)
    told = gather(hosts, {"records": records.n, "dense": records.dense, "values": values})
    counts = [int(host["records"]) for host in told]
    if not any(counts):
        raise DataError("no host has records: at least one is needed to train")
    kinds = {
        "dense" if host["dense"] else "sparse": rank
        for rank, host in enumerate(told, 1)
        if host["records"]
    }
    if len(kinds) > 1:
        raise DataError(
            f"host {kinds['dense']} has dense records and host {kinds['sparse']} sparse ones"
        )
    dense = "dense" in kinds
    values = sum(int(host["values"]) for host in told)
    slots = given.feature_dim if dense else min(given.feature_dim, values)
    size = _message_size(slots, given.num_factors)
    if size > _LARGEST_MESSAGE:
        raise DataError(
            f"the gradients of {slots} features are {size} bytes, which are too many for hosts to "
            f"send in each step, above {_LARGEST_MESSAGE}: use a smaller mini_batch_size or one "
            "host"
        )
    steps = -(-max(counts) // given.mini_batch_size)
    return Plan(sum(counts), steps, dense, slots)


class SharedAdamTrainer:
    """Training that goes on epoch by epoch, on all hosts together.

    Parameters
    ----------
    hyperparameters
        Checked hyperparameters, the same on every host.
    features, labels
        This host's, as ``check_features`` and ``check_labels`` return them; there may be none.
    rng
        Draws the initial parameters, the same on every host.
    hosts
        Of the job.
    plan
        What ``agree`` has returned.
    initial
        A model to start from instead; its moments start at 0.

    Raises
    ------
    DataError
        If the initial model's sizes or predictor type are others than the hyperparameters say.
    """

    def __init__(
        self,
        hyperparameters: Hyperparameters,
        features: SparseRows | NDArray[np.float32],
        labels: NDArray[np.float32],
        rng: np.random.Generator,
        hosts: Hosts,
        plan: Plan,
        initial: Model | None = None,
    ) -> None:
        given = hyperparameters
        self.batches = -(-len(labels) // given.mini_batch_size)
        self._hyperparameters, self._hosts, self._plan = given, hosts, plan
        self._epoch = 0
        self._records = Records.of(features, labels)
        rules = Rules.of(given)
        if given.rescale_grad is None:
            rules = rules._replace(rescale=rules.rescale / hosts.count)
        self._rules = rules
        values = most_values(self._records, given.mini_batch_size)
        different = 0 if plan.dense else plan.slots
        self._state = State.with_slots(given, different, values, plan.slots, rng, initial)
        self._message = bytearray(_message_size(plan.slots, given.num_factors))
        self._kernels = kernels("adam_hosts")

    def run_epoch(self, observer: Observer | None = None) -> dict[str, float]:
        """Train on every batch of every host once; return the metrics of this host's records.

        Returns
        -------
        dict
            Empty if this host has no records.

        Raises
        ------
        DivergedError
            If a prediction for a record of this host is infinite or NaN.
        HostsError
            If a host is lost or has failed.
        """
        totals = Totals(self._hyperparameters.predictor_type)
        interval = self._hyperparameters.batch_metrics_publish_interval
        for step in range(self._plan.steps):
            self._take_step(step, totals)
            if observer is not None and step < self.batches and step % interval == 0:
                observer.on_batch(BatchResult(self._epoch, step, totals.metrics()))
        self._epoch += 1
        return totals.metrics() if self.batches else {}

    def model(self) -> Model:
        """Take the parameters out as a model.

        Raises
        ------
        DivergedError
            If one is infinite or NaN.
        """
        return trained_model(self._state, self._hyperparameters, self._epoch - 1)

    def _take_step(self, step: int, totals: Totals) -> None:
        shared, bias = self._add_own(step, totals)
        first = self._hosts.rank == 0
        mine = b"" if first else self._pack(shared, bias)
        for message in self._hosts.collect(mine, len(self._message)):
            keys, rows, added = self._unpack(message)
            shared, bias = self._add(keys, rows, shared), np.float32(bias + added)
        if first:
            self._hosts.spread(self._pack(shared, bias), len(self._message))
        else:
            message = self._hosts.spread(b"", len(self._message))
            keys, rows, bias = self._unpack(message)
            shared = len(keys)
            self._take(keys, rows)
        number = self._epoch * self._plan.steps + step + 1
        self._kernels.take_step(*self._state, *self._rules, shared, number, bias)

    def _add_own(self, batch: int, totals: Totals) -> tuple[int, np.float32]:
        """Add up a batch of this host's; return the number of slots and the bias's gradient."""
        self._state.table[:] = 0
        if batch >= self.batches:
            return 0, np.float32(0)
        sums = np.zeros(5 if self._rules.classifier else 2)
        bias = np.zeros(1, dtype=np.float32)
        shared = self._kernels.add_batch(
            *self._records, *self._state, *self._rules, batch, sums, bias
        )
        if shared < 0:
            what = f"the prediction for record {-1 - shared}"
            raise diverged(self._hyperparameters, what, self._epoch)
        totals.add_sums(sums, self._hyperparameters.mini_batch_size)
        return shared, bias[0]

    def _add(self, keys: NDArray[np.int32], rows: NDArray[np.float32], shared: int) -> int:
        """Add another host's gradients; return the number of slots.

        Raises
        ------
        HostsError
            If there are not slots for all of them.
        """
        given, state, slots = self._hyperparameters, self._state, self._plan.slots
        if slots < min(shared + len(keys), given.feature_dim):
            raise HostsError("a host sent more features than it has told of")
        return int(
            self._kernels.add_rows(
                keys,
                rows,
                len(keys),
                self._plan.dense,
                given.feature_dim,
                given.num_factors,
                self._rules.width,
                state.gradients,
                state.table,
                state.table_bits,
                state.touched,
                shared,
            )
        )

    def _pack(self, shared: int, bias: np.float32) -> memoryview:
        """Write the slots into the message: their number and the bias's gradient, keys, rows."""
        factors, begin = self._hyperparameters.num_factors, _HEADER.size + 4 * shared
        end = _message_size(shared, factors)
        _HEADER.pack_into(self._message, 0, shared, bias)
        message = memoryview(self._message)
        np.frombuffer(message[_HEADER.size : begin], np.int32)[:] = self._state.touched[:shared]
        rows = np.frombuffer(message[begin:end], np.float32).reshape(shared, factors + 1)
        slots = self._state.gradients.reshape(self._plan.slots, -1)[:shared]
        rows[:, :factors] = slots[:, :factors]
        rows[:, factors] = slots[:, self._rules.width]
        return message[:end]

    def _unpack(
        self, message: memoryview
    ) -> tuple[NDArray[np.int32], NDArray[np.float32], np.float32]:
        """Return the keys, rows and bias's gradient of a message.

        Raises
        ------
        HostsError
            If it is malformed: what keys say goes unchecked into compiled loops.
        """
        given = self._hyperparameters
        factors = given.num_factors
        if message.nbytes < _HEADER.size:
            raise HostsError(f"a host sent {message.nbytes} bytes, not the gradients of a step")
        shared, bias = _HEADER.unpack_from(message)
        if message.nbytes != _message_size(shared, factors) or shared > self._plan.slots:
            raise HostsError(f"a host sent {message.nbytes} bytes for {shared} features")
        begin = _HEADER.size + 4 * shared
        keys = np.frombuffer(message[_HEADER.size : begin], np.int32)
        if keys.min(initial=0) < 0 or keys.max(initial=0) >= given.feature_dim:
            raise HostsError("a host sent gradients of features that the model does not have")
        return keys, np.frombuffer(message[begin:], np.float32), np.float32(bias)

    def _take(self, keys: NDArray[np.int32], rows: NDArray[np.float32]) -> None:
        """Put the gradients of all hosts into the slots in place of this one's."""
        factors, shared = self._hyperparameters.num_factors, len(keys)
        self._state.touched[:shared] = keys
        slots = self._state.gradients.reshape(self._plan.slots, -1)[:shared]
        given = rows.reshape(shared, factors + 1)
        slots[:, :factors] = given[:, :factors]
        slots[:, self._rules.width] = given[:, factors]


def _message_size(slots: int, factors: int) -> int:
    return _HEADER.size + 4 * slots * (factors + 2)
