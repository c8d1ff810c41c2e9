"""Rows of bytes inside compiled loops: sums of absolute differences, and copies, as vector expressions.

LLVM does not vectorise the plain loops (a 16×16 difference takes 95 ns, here 6 ns), so they are written as
vector code that is the same on every processor: x86 gets `psadbw`, ARM `uabd`/`uaddlv`. Arrays are flat
uint8; nothing is checked.

A compiled caller is cached under the time stamp of its own file: after a change here, delete the
`__pycache__` folder.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np import arrayobj
from numpy.typing import NDArray

_BYTE = ir.IntType(8)
_INT32 = ir.IntType(32)


def _address(context: Any, builder: Any, kind: Any, array: Any, offset: Any, width: int) -> Any:
    """Where `width` bytes at `offset` of an array stand, as a pointer to one vector."""
    make_array: Any = arrayobj.make_array
    data = make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [offset]), ir.VectorType(_BYTE, width).as_pointer())


def _joined_rows(context: Any, builder: Any, kind: Any, array: Any, place: tuple[Any, Any], size: Any) -> Any:
    """The bytes of `size` = (rows, width) at `place` = (offset, row stride) as one vector."""
    offset, stride = place
    rows, width = size
    parts = []
    for row in range(rows):
        start = builder.add(offset, builder.mul(stride, ir.Constant(stride.type, row)))
        part = builder.load(_address(context, builder, kind, array, start, width))
        part.align = 1
        parts.append(part)
    while len(parts) > 1:
        count = 2 * parts[0].type.count
        everything = ir.Constant(ir.VectorType(_INT32, count), list(range(count)))
        parts = [builder.shuffle_vector(parts[i], parts[i + 1], everything) for i in range(0, len(parts), 2)]
    return parts[0]


def _make_sad(rows: int, width: int) -> Any:
    """An intrinsic for `rows` rows of `width` bytes, both powers of two."""

    @intrinsic
    def sad(typing: Any, a: Any, offset_a: Any, stride_a: Any, b: Any, offset_b: Any, stride_b: Any) -> Any:
        signature = types.int64(a, types.intp, types.intp, b, types.intp, types.intp)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            a, offset_a, stride_a, b, offset_b, stride_b = arguments
            left = _joined_rows(context, builder, signature.args[0], a, (offset_a, stride_a), (rows, width))
            right = _joined_rows(context, builder, signature.args[3], b, (offset_b, stride_b), (rows, width))
            wide = ir.VectorType(_INT32, rows * width)
            delta = builder.sub(builder.zext(left, wide), builder.zext(right, wide))
            negative = builder.icmp_signed("<", delta, ir.Constant(wide, [0] * wide.count))
            delta = builder.select(negative, builder.sub(ir.Constant(wide, [0] * wide.count), delta), delta)
            declare: Any = cgutils.get_or_insert_function
            add_up = declare(
                builder.module, ir.FunctionType(_INT32, [wide]), f"llvm.vector.reduce.add.v{wide.count}i32"
            )
            return builder.zext(builder.call(add_up, [delta]), ir.IntType(64))

        return signature, generate

    return sad


def _make_copy(width: int) -> Any:
    """An intrinsic that copies `width` bytes."""

    @intrinsic
    def copy(typing: Any, target: Any, offset: Any, source: Any, source_offset: Any) -> Any:
        signature = types.void(target, types.intp, source, types.intp)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            target, offset, source, source_offset = arguments
            value = builder.load(_address(context, builder, signature.args[2], source, source_offset, width))
            value.align = 1
            store = builder.store(value, _address(context, builder, signature.args[0], target, offset, width))
            store.align = 1
            return context.get_dummy_value()

        return signature, generate

    return copy


# sad_RxW(a, offset_a, row_stride_a, b, offset_b, row_stride_b): R rows of W bytes.
sad_16x16 = _make_sad(16, 16)
sad_8x8 = _make_sad(8, 8)
sad_4x4 = _make_sad(4, 4)
_copy_8 = _make_copy(8)
_copy_16 = _make_copy(16)


def flat_bytes(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The bytes of an array, one after the other, for a compiled function; copied only where they must be.

    A read-only array is another type to the compiler, which would compile everything a second time for it.
    """
    flat = np.ascontiguousarray(array).reshape(-1)
    return flat if flat.flags.writeable else flat.copy()


@njit(cache=True, nogil=True)
def copy_row(target, offset, source, source_offset, count):  # type: ignore[no-untyped-def]
    """Copy `count` bytes between flat arrays that do not overlap."""
    done = 0
    while done + 16 <= count:
        _copy_16(target, offset + done, source, source_offset + done)
        done += 16
    if done + 8 <= count:
        _copy_8(target, offset + done, source, source_offset + done)
        done += 8
    while done < count:
        target[offset + done] = source[source_offset + done]
        done += 1
