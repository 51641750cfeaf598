"""The training loop over mini-batches, compiled by Numba with hand-laid vector code.

Numba leaves loops over short rows of one array almost scalar, because the rows might overlap; the
three intrinsics here say the vector operations outright, in 16 lanes that LLVM fits to the machine.
Everything is float32, single-threaded, strictly IEEE (no fast-math, no fused multiply-add) and in a
fixed order, so NaN and infinity are seen and regressors train to the same bytes on any processor.
Callers check the arrays: indices are not bounds-checked here.
"""

import inspect
import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numba.core.types import Array, Integer, boolean, float32, int32, int64, intp, void
from numba.core.types.containers import NamedTuple
from numba.extending import intrinsic
from numba.np.arrayobj import make_array
from numpy.typing import NDArray

from matinee.fm.layout import LANES, Records, Rules, State

_BETA1 = 0.9
_BETA2 = 0.999
_KEEP1, _KEEP2 = np.float32(_BETA1), np.float32(_BETA2)
_GAIN1, _GAIN2 = 1 - _KEEP1, 1 - _KEEP2

_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_UNDEFINED = ir.Constant(_VECTOR, ir.Undefined)
_INT32 = ir.IntType(32)

_AHEAD = 16  # values whose rows are asked for early; found by measuring

_FLOATS = Array(float32, 1, "C")
_READ_ONLY_FLOATS = Array(float32, 1, "C", readonly=True)
_INTEGERS = Array(int32, 1, "C")


_RECORDS = NamedTuple(
    (
        Array(int64, 1, "C", readonly=True),
        Array(int32, 1, "C", readonly=True),
        _READ_ONLY_FLOATS,
        _READ_ONLY_FLOATS,
        boolean,
    ),
    Records,
)
_STATE = NamedTuple((_FLOATS, _FLOATS, _FLOATS, _INTEGERS, _INTEGERS, _FLOATS), State)
_RULES = NamedTuple((int64, int64, boolean, *[_FLOATS] * 4, *[float32] * 5), Rules)


def _vector(value: float | np.float32) -> ir.Constant:
    return ir.Constant(_VECTOR, [float(value)] * LANES)


class _Emitter:
    """Emits vector operations into one function."""

    def __init__(self, builder: ir.IRBuilder) -> None:
        self.ir = builder
        self.add, self.subtract = builder.fadd, builder.fsub
        self.multiply, self.divide = builder.fmul, builder.fdiv

    def splat(self, scalar: ir.Value) -> ir.Value:
        first = self.ir.insert_element(_UNDEFINED, scalar, ir.Constant(_INT32, 0))
        lanes = ir.Constant(ir.VectorType(_INT32, LANES), [0] * LANES)
        return self.ir.shuffle_vector(first, _UNDEFINED, lanes)

    def element(self, pointer: ir.Value, offset: ir.Value) -> ir.Value:
        return self.ir.load(self.ir.gep(pointer, [offset]))

    def load(self, pointer: ir.Value, offset: ir.Value) -> ir.Value:
        loaded = self.ir.load(self._lanes(pointer, offset))
        loaded.align = 4
        return loaded

    def store(self, value: ir.Value, pointer: ir.Value, offset: ir.Value) -> None:
        self.ir.store(value, self._lanes(pointer, offset)).align = 4

    def _lanes(self, pointer: ir.Value, offset: ir.Value) -> ir.Value:
        return self.ir.bitcast(self.ir.gep(pointer, [offset]), _VECTOR.as_pointer())

    def columns(self, width: ir.Value) -> Any:
        return self.range(ir.Constant(width.type, 0), width, LANES)

    def range(self, start: ir.Value, stop: ir.Value, step: int) -> Any:
        step = ir.Constant(start.type, step)
        return cgutils.for_range_slice(self.ir, start, stop, step, start.type)

    def row(self, parameters: ir.Value, key: ir.Value, width: ir.Value) -> ir.Value:
        """Point to a feature's weights; its two moments follow, ``width`` floats each."""
        stride = self.ir.mul(width, ir.Constant(width.type, 3))
        return self.ir.gep(parameters, [self.ir.mul(key, stride)])

    def function(self, name: str, result: ir.Type, *arguments: ir.Type) -> ir.Function:
        function_type = ir.FunctionType(result, arguments)
        return cgutils.get_or_insert_function(self.ir.module, function_type, name)

    def sum(self, vector: ir.Value) -> ir.Value:
        """Add up the lanes by halves: a fixed order."""
        lanes = LANES
        while lanes > 1:
            lanes //= 2
            low, high = (
                self.ir.shuffle_vector(
                    vector, vector, ir.Constant(ir.VectorType(_INT32, lanes), list(half))
                )
                for half in (range(lanes), range(lanes, 2 * lanes))
            )
            vector = self.ir.fadd(low, high)
        return self.ir.extract_element(vector, ir.Constant(_INT32, 0))


def _operation(result: Any) -> Callable[[Callable[..., Any]], Any]:
    """Make compiled code able to call a function that emits vector operations.

    The function receives the emitter, then the call's arguments: of an array the pointer to its
    data, of an integer 64 bits.
    """

    def decorate(emit: Callable[..., Any]) -> Any:
        def operation(_: Any, *types: Any) -> Any:
            signature = result(*(intp if isinstance(type_, Integer) else type_ for type_ in types))

            def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
                values = (
                    make_array(type_)(context, builder, value).data
                    if isinstance(type_, Array)
                    else value
                    for type_, value in zip(signature.args, arguments, strict=True)
                )
                returned = emit(_Emitter(builder), *values)
                return context.get_dummy_value() if returned is None else returned

            return signature, generate

        # Numba matches a call's arguments to the names found here.
        operation.__signature__ = inspect.signature(emit)  # type: ignore[attr-defined]
        return intrinsic(operation)

    return decorate


@_operation(float32)
def _interact(
    e: _Emitter,
    parameters: ir.Value,
    width: ir.Value,
    keys: ir.Value,
    values: ir.Value,
    shift: ir.Value,
    first: ir.Value,
    last: ir.Value,
    is_factor: ir.Value,
    sums: ir.Value,
) -> ir.Value:
    """Sum x_i * row_i over a record into ``sums``; return the sum of squared sums less squares.

    The record's values lie from ``first`` up to ``last``, their keys ``shift`` places before.
    """
    zero = _vector(0)
    total, summed, squared = (cgutils.alloca_once_value(e.ir, zero) for _ in range(3))
    with e.columns(width) as (column, _):
        e.ir.store(zero, summed)
        e.ir.store(zero, squared)
        with e.range(first, last, 1) as (at, _):
            key = e.ir.sext(e.element(keys, e.ir.sub(at, shift)), width.type)
            x = e.splat(e.element(values, at))
            term = e.multiply(x, e.load(e.row(parameters, key, width), column))
            e.ir.store(e.add(e.ir.load(summed), term), summed)
            e.ir.store(e.add(e.ir.load(squared), e.multiply(term, term)), squared)
        sum_ = e.ir.load(summed)
        e.store(sum_, sums, column)
        pairs = e.subtract(e.multiply(sum_, sum_), e.ir.load(squared))
        pairs = e.multiply(e.load(is_factor, column), pairs)
        e.ir.store(e.add(e.ir.load(total), pairs), total)
    return e.sum(e.ir.load(total))


@_operation(void)
def _add_gradient(
    e: _Emitter,
    gradients: ir.Value,
    slot: ir.Value,
    parameters: ir.Value,
    key: ir.Value,
    width: ir.Value,
    x: ir.Value,
    scale: ir.Value,
    is_factor: ir.Value,
    sums: ir.Value,
) -> None:
    """Add ``scale * (sums - x * row)`` to a feature's gradient; only factors have a row term."""
    gradient = e.ir.gep(gradients, [e.ir.mul(slot, width)])
    row = e.row(parameters, key, width)
    x, scale = e.splat(x), e.splat(scale)
    with e.columns(width) as (column, _):
        own = e.multiply(e.multiply(x, e.load(is_factor, column)), e.load(row, column))
        term = e.multiply(scale, e.subtract(e.load(sums, column), own))
        e.store(e.add(e.load(gradient, column), term), gradient, column)


@_operation(void)
def _adam(
    e: _Emitter,
    parameters: ir.Value,
    key: ir.Value,
    gradients: ir.Value,
    slot: ir.Value,
    width: ir.Value,
    rescale: ir.Value,
    clip: ir.Value,
    correction: ir.Value,
    rates: ir.Value,
    decays: ir.Value,
    epsilons: ir.Value,
) -> None:
    """Take MXNet's Adam step on one feature's row."""
    row = e.row(parameters, key, width)
    moment1 = e.ir.gep(row, [width])
    moment2 = e.ir.gep(moment1, [width])
    gradient = e.ir.gep(gradients, [e.ir.mul(slot, width)])
    rescale, upper, correction = e.splat(rescale), e.splat(clip), e.splat(correction)
    lower = e.multiply(_vector(-1), upper)
    square_root = e.function(f"llvm.sqrt.v{LANES}f32", _VECTOR, _VECTOR)
    with e.columns(width) as (column, _):
        weight = e.load(row, column)
        g = e.multiply(rescale, e.load(gradient, column))
        g = e.add(g, e.multiply(e.load(decays, column), weight))
        # Ordered comparisons: NaN passes through the clipping.
        g = e.ir.select(e.ir.fcmp_ordered(">", g, upper), upper, g)
        g = e.ir.select(e.ir.fcmp_ordered("<", g, lower), lower, g)
        m = e.multiply(_vector(_KEEP1), e.load(moment1, column))
        m = e.add(m, e.multiply(_vector(_GAIN1), g))
        s = e.multiply(_vector(_KEEP2), e.load(moment2, column))
        s = e.add(s, e.multiply(_vector(_GAIN2), e.multiply(g, g)))
        scale = e.add(e.ir.call(square_root, [s]), e.load(epsilons, column))
        rate = e.multiply(correction, e.load(rates, column))
        e.store(e.subtract(weight, e.divide(e.multiply(rate, m), scale)), row, column)
        e.store(m, moment1, column)
        e.store(s, moment2, column)


@_operation(void)
def _prefetch(e: _Emitter, array: ir.Value, offset: ir.Value) -> None:
    """Ask for the cache line at an offset, which is about to be written."""
    byte = ir.IntType(8).as_pointer()
    prefetch = e.function("llvm.prefetch.p0", ir.VoidType(), byte, _INT32, _INT32, _INT32)
    write, most_local, data = (ir.Constant(_INT32, flag) for flag in (1, 3, 1))
    address = e.ir.bitcast(e.ir.gep(array, [offset]), byte)
    e.ir.call(prefetch, [address, write, most_local, data])


@numba.njit  # type: ignore[untyped-decorator]
def _logistic(value: np.float32) -> np.float32:
    one = np.float32(1)
    # exp of a non-positive number cannot overflow.
    small = np.float32(math.exp(-abs(value)))
    return one / (one + small) if value >= 0 else small / (one + small)


@numba.njit(  # type: ignore[untyped-decorator]  # Numba ships no type hints
    int64(_RECORDS, _STATE, _RULES, int64, int64, int64, _FLOATS),
    cache=True,
    nogil=True,
    error_model="numpy",
)
def train_batches(
    records: Records,
    state: State,
    rules: Rules,
    first_batch: int,
    last_batch: int,
    step: int,
    scores: NDArray[np.float32],
) -> int:
    """Train on batches ``first_batch`` up to, not including, ``last_batch`` of an epoch.

    Parameters
    ----------
    records, state, rules
        See their classes; ``state`` changes in place.
    first_batch, last_batch
        Counted from 0 in file order.
    step
        Number of updates made before.
    scores
        float32 (n + 1,): receives the prediction for each record before its batch's update, and in
        the last place that for the padding of a short batch.

    Returns
    -------
    int
        -1, or the first record whose prediction is not finite; training stopped there.
    """
    starts, keys, values, labels, dense = records
    parameters, bias, gradients, slots, touched, sums = state
    k = rules.num_factors
    width = sums.size
    stride = 3 * width
    n = labels.size
    one = np.float32(1)
    for batch in range(first_batch, last_batch):
        begin = batch * rules.mini_batch_size
        end = min(begin + rules.mini_batch_size, n)
        features = 0
        bias_gradient = np.float32(0)
        for record in range(begin, end):
            first = starts[record]
            last = starts[record + 1]
            # Dense records share one list of keys.
            shift = first if dense else 0
            if not dense:
                for at in range(first + _AHEAD, min(last + _AHEAD, starts[end])):
                    row = keys[at] * stride
                    for column in range(0, width, LANES):
                        _prefetch(parameters, row + column)
            for at in range(first - shift, last - shift):
                key = keys[at]
                if slots[key] < 0:
                    slots[key] = features
                    touched[features] = key
                    gradients[features * width : (features + 1) * width] = np.float32(0)
                    features += 1
            pairs = _interact(
                parameters, width, keys, values, shift, first, last, rules.is_factor, sums
            )
            output = bias[0] + sums[k] + np.float32(0.5) * pairs
            if not math.isfinite(output):
                return record
            score = _logistic(output) if rules.classifier else output
            scores[record] = score
            residual = score - labels[record]
            bias_gradient += residual
            # The linear term's gradient is residual * x: what _add_gradient makes of a sum of 1.
            sums[k] = one
            for at in range(first, last):
                x = values[at]
                if x != 0:
                    key = keys[at - shift]
                    _add_gradient(
                        gradients, slots[key], parameters, key, width, x, residual * x,
                        rules.is_factor, sums,
                    )  # fmt: skip
        padding = begin + rules.mini_batch_size - end
        if padding > 0:
            scores[n] = _logistic(bias[0]) if rules.classifier else bias[0]
            bias_gradient += np.float32(padding) * scores[n]
        step += 1
        correction = np.float32(math.sqrt(1 - _BETA2**step) / (1 - _BETA1**step))
        for slot in range(features):
            key = touched[slot]
            slots[key] = -1
            _adam(
                parameters, key, gradients, slot, width, rules.rescale, rules.clip, correction,
                rules.rates, rules.decays, rules.epsilons,
            )  # fmt: skip
        g = rules.rescale * bias_gradient + rules.bias_decay * bias[0]
        if g > rules.clip:
            g = rules.clip
        elif g < -rules.clip:
            g = -rules.clip
        bias[1] = _KEEP1 * bias[1] + _GAIN1 * g
        bias[2] = _KEEP2 * bias[2] + _GAIN2 * (g * g)
        bias[0] -= correction * rules.bias_rate * bias[1] / (math.sqrt(bias[2]) + rules.epsilon)
    return -1
