"""Vectors of 16 floats in Numba code: what makes a kernel's speed a matter of its text.

Numba leaves loops over short rows of one array almost scalar, because the rows might overlap. Here
a vector is a value: ``load`` it, calculate with ``+ - * /``, ``fma`` and ``square_root``, ``store``
it; LLVM fits the 16 lanes to the machine. Operations are strictly IEEE and in the order written (no
fast-math; fused only where ``fma`` says so), so results do not depend on the processor.
"""

import inspect
import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core.types import Integer, Type, float32, intp, void
from numba.extending import intrinsic, models, overload, register_model

LANES = 16

_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_UNDEFINED = ir.Constant(_VECTOR, ir.Undefined)
_INT32 = ir.IntType(32)
_MASK = ir.VectorType(ir.IntType(1), LANES)
_ALIGNMENT = ir.Constant(_INT32, 4)
_ZERO = ir.Constant(_INT32, 0)
_LANE_NUMBERS = ir.Constant(ir.VectorType(_INT32, LANES), list(range(LANES)))


class VectorType(Type):
    """Numba's type of a vector of ``LANES`` float32."""

    def __init__(self) -> None:
        super().__init__(f"float32x{LANES}")


vector = VectorType()


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):  # type: ignore[misc]  # Numba ships no type hints
    def __init__(self, manager: Any, type_: Any) -> None:
        super().__init__(manager, type_, _VECTOR)


def operation(result: Any) -> Callable[[Callable[..., Any]], Any]:
    """Make compiled code able to call a function that emits instructions.

    The function receives the IR builder, then the call's arguments as values: of an array the
    pointer to its data, of an integer 64 bits.
    """

    def decorate(emit: Callable[..., Any]) -> Any:
        def typed(_: Any, *types: Any) -> Any:
            signature = result(*(intp if isinstance(type_, Integer) else type_ for type_ in types))

            def generate(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
                returned = emit(builder, *arguments)
                return context.get_dummy_value() if returned is None else returned

            return signature, generate

        # Numba matches a call's arguments to the names found here.
        typed.__signature__ = inspect.signature(emit)  # type: ignore[attr-defined]
        typed.__name__ = emit.__name__
        return intrinsic(typed)

    return decorate


@operation(vector)
def load(builder: ir.IRBuilder, array: ir.Value, offset: ir.Value) -> ir.Value:
    """Return the 16 floats from an offset on."""
    loaded = builder.load(_at(builder, array, offset))
    loaded.align = 4
    return loaded


@operation(void)
def store(builder: ir.IRBuilder, array: ir.Value, offset: ir.Value, value: ir.Value) -> None:
    """Write the 16 floats from an offset on."""
    builder.store(value, _at(builder, array, offset)).align = 4


@operation(vector)
def load_first(
    builder: ir.IRBuilder, array: ir.Value, offset: ir.Value, count: ir.Value
) -> ir.Value:
    """Return the first ``count`` of the 16 floats from an offset on, then zeros; reads no more."""
    pointer = _at(builder, array, offset)
    type_ = ir.FunctionType(_VECTOR, [pointer.type, _INT32, _MASK, _VECTOR])
    function = _declared(builder, f"llvm.masked.load.v{LANES}f32.p0", type_)
    zeros = ir.Constant(_VECTOR, [0.0] * LANES)
    return builder.call(function, [pointer, _ALIGNMENT, _first(builder, count), zeros])


@operation(void)
def store_first(
    builder: ir.IRBuilder, array: ir.Value, offset: ir.Value, count: ir.Value, value: ir.Value
) -> None:
    """Write the first ``count`` of the 16 floats from an offset on, and no more."""
    pointer = _at(builder, array, offset)
    type_ = ir.FunctionType(ir.VoidType(), [_VECTOR, pointer.type, _INT32, _MASK])
    function = _declared(builder, f"llvm.masked.store.v{LANES}f32.p0", type_)
    builder.call(function, [value, pointer, _ALIGNMENT, _first(builder, count)])


@operation(vector)
def splat(builder: ir.IRBuilder, scalar: ir.Value) -> ir.Value:
    """Return a float32 in every lane."""
    first = builder.insert_element(_UNDEFINED, scalar, ir.Constant(_INT32, 0))
    lanes = ir.Constant(ir.VectorType(_INT32, LANES), [0] * LANES)
    return builder.shuffle_vector(first, _UNDEFINED, lanes)


@operation(float32)
def total(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """Add up the lanes by halves: a fixed order."""
    lanes = LANES
    while lanes > 1:
        lanes //= 2
        low, high = (
            builder.shuffle_vector(
                value, value, ir.Constant(ir.VectorType(_INT32, lanes), list(half))
            )
            for half in (range(lanes), range(lanes, 2 * lanes))
        )
        value = builder.fadd(low, high)
    return builder.extract_element(value, ir.Constant(_INT32, 0))


@operation(vector)
def fma(builder: ir.IRBuilder, first: ir.Value, second: ir.Value, third: ir.Value) -> ir.Value:
    """Return ``first * second + third``, rounded once."""
    return builder.call(_function(builder, "llvm.fma", 3), [first, second, third])


@operation(vector)
def square_root(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """Return each lane's square root."""
    return builder.call(_function(builder, "llvm.sqrt", 1), [value])


@operation(vector)
def clamp(builder: ir.IRBuilder, value: ir.Value, bound: ir.Value) -> ir.Value:
    """Return each lane kept within plus and minus ``bound``; NaN passes through."""
    lower = builder.fneg(bound)
    above = builder.fcmp_ordered(">", value, bound)
    value = builder.select(above, bound, value)
    below = builder.fcmp_ordered("<", value, lower)
    return builder.select(below, lower, value)


@operation(vector)
def at_least(builder: ir.IRBuilder, value: ir.Value, bound: ir.Value) -> ir.Value:
    """Return each lane, or that of ``bound`` where it is larger; NaN passes through."""
    return builder.select(builder.fcmp_ordered("<", value, bound), bound, value)


@operation(void)
def prefetch(builder: ir.IRBuilder, array: ir.Value, offset: ir.Value) -> None:
    """Ask for the cache line at an offset, which is about to be written."""
    _prefetch(builder, array, offset, write=1, locality=3)


@operation(void)
def prefetch_to_l2(builder: ir.IRBuilder, array: ir.Value, offset: ir.Value) -> None:
    """Ask for the cache line at an offset, into the second-level cache only.

    The first level has few places for outstanding requests (24 on Zen 4): rows of many lines that
    come from memory arrive half as fast again when they wait elsewhere.
    """
    _prefetch(builder, array, offset, write=0, locality=2)


def _arithmetic(instruction: str, *operators: Callable[[Any, Any], Any]) -> None:
    def emit(builder: ir.IRBuilder, first: ir.Value, second: ir.Value) -> ir.Value:
        return getattr(builder, instruction)(first, second)

    compiled = operation(vector)(emit)

    def lanes(first, second):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202  (compiled)
        return compiled(first, second)

    def implementation(first: Any, second: Any) -> Any:
        return lanes if first is vector and second is vector else None

    # Numba wants the signature of what it compiles.
    implementation.__signature__ = inspect.signature(lanes)  # type: ignore[attr-defined]
    for each in operators:
        overload(each)(implementation)


_arithmetic("fadd", operator.add, operator.iadd)
_arithmetic("fsub", operator.sub, operator.isub)
_arithmetic("fmul", operator.mul, operator.imul)
_arithmetic("fdiv", operator.truediv, operator.itruediv)


def _first(builder: ir.IRBuilder, count: ir.Value) -> ir.Value:
    """Return a mask of the first ``count`` lanes."""
    count = builder.trunc(count, _INT32)
    first = builder.insert_element(ir.Constant(_LANE_NUMBERS.type, ir.Undefined), count, _ZERO)
    counts = builder.shuffle_vector(first, first, ir.Constant(_LANE_NUMBERS.type, [0] * LANES))
    return builder.icmp_signed("<", _LANE_NUMBERS, counts)


def _prefetch(
    builder: ir.IRBuilder, array: ir.Value, offset: ir.Value, *, write: int, locality: int
) -> None:
    byte = ir.IntType(8).as_pointer()
    type_ = ir.FunctionType(ir.VoidType(), [byte, _INT32, _INT32, _INT32])
    flags = (ir.Constant(_INT32, flag) for flag in (write, locality, 1))  # 1: data
    address = builder.bitcast(builder.gep(array, [offset]), byte)
    builder.call(_declared(builder, "llvm.prefetch.p0", type_), [address, *flags])


def _at(builder: ir.IRBuilder, array: ir.Value, offset: ir.Value) -> ir.Value:
    return builder.bitcast(builder.gep(array, [offset]), _VECTOR.as_pointer())


def _function(builder: ir.IRBuilder, name: str, arity: int) -> ir.Function:
    type_ = ir.FunctionType(_VECTOR, [_VECTOR] * arity)
    return _declared(builder, f"{name}.v{LANES}f32", type_)


def _declared(builder: ir.IRBuilder, name: str, type_: ir.FunctionType) -> ir.Function:
    existing = builder.module.globals.get(name)
    return ir.Function(builder.module, type_, name) if existing is None else existing
