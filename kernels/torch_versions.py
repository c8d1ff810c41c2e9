"""What older PyTorch calls otherwise, or has not: from 1.13, which boards still have, on."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils import _pytree as pytree


def storage_of(tensor: torch.Tensor) -> Any:
    """The untyped storage behind a tensor: a method of it since 2.0."""
    if hasattr(tensor, "untyped_storage"):
        return tensor.untyped_storage()
    return tensor.storage()._storage


def bytes_of(tensor: torch.Tensor) -> int:
    """Bytes of a tensor's elements; `Tensor.nbytes` since 2.1."""
    return tensor.numel() * tensor.element_size()


def tree_leaves(tree: Any) -> list[Any]:
    """What lies in nested lists, tuples and dicts, in order; `pytree.tree_leaves` since 2.2."""
    leaves: list[Any] = pytree.tree_flatten(tree)[0]
    return leaves
