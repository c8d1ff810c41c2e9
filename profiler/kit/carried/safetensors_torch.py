"""Reading safetensors files without the package of that name: a length, a JSON header, the tensors.

The format is that of the section "Format" of the package's own documentation.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError

_TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def load_file(path: str | Path) -> dict[str, torch.Tensor]:
    """The tensors of a file by name.

    Raises:
        SafetensorError: no such file, or one cut off.
    """
    data = Path(path).read_bytes()
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or 8 + size > len(data):
        raise SafetensorError(f"a header of {size} bytes in a file of {len(data)}")
    try:
        header = json.loads(data[8 : 8 + size])
        entries = {name: one for name, one in header.items() if name != "__metadata__"}
        return {name: _tensor(data, 8 + size, one) for name, one in entries.items()}
    except (ValueError, KeyError, TypeError, RuntimeError, AttributeError) as error:
        raise SafetensorError(f"a header that cannot be used: {error!r}") from error


def _tensor(data: bytes, origin: int, entry: dict[str, object]) -> torch.Tensor:
    first, last = entry["data_offsets"]  # type: ignore[misc]
    kind, shape = _TYPES[str(entry["dtype"])], [int(side) for side in entry["shape"]]  # type: ignore[attr-defined]
    if not 0 <= first <= last <= len(data) - origin:  # type: ignore[has-type]
        raise ValueError(f"a tensor at {first} to {last} of {len(data) - origin} bytes")  # type: ignore[has-type]
    if first == last:  # type: ignore[has-type]
        return torch.empty(shape, dtype=kind)
    part = bytearray(data[origin + first : origin + last])  # type: ignore[has-type]
    return torch.frombuffer(part, dtype=kind).reshape(shape)
