"""What a trace of one frame cannot hold is refused, with the path, before any result is wrong."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from kernels import SparseExecutor
from kernels.executor import UnsupportedModule

HISTORY: list[torch.Tensor] = []


class Inner(nn.Module):
    """A submodule with a buffer, whose forward is a function of itself and its input."""

    def __init__(self, forward: Callable[[Any, torch.Tensor], Any]) -> None:
        super().__init__()
        self.run = forward
        self.register_buffer("mean", torch.zeros(4))
        self.register_buffer("variance", torch.ones(4))

    def forward(self, value: torch.Tensor) -> Any:
        return self.run(self, value)


class Outer(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), inner)

    def forward(self, frame: torch.Tensor) -> Any:
        return self.body(frame)


def background(self: Any, x: torch.Tensor) -> torch.Tensor:
    if not hasattr(self, "background"):
        self.background = x.clone()
    return x - self.background


def moving_average(self: Any, x: torch.Tensor) -> torch.Tensor:
    self.average = 0.1 * x + 0.9 * getattr(self, "average", torch.zeros_like(x))
    return torch.as_tensor(self.average)


def average_buffer(self: Any, x: torch.Tensor) -> torch.Tensor:
    self.mean.mul_(0.9).add_(x.mean((0, 2, 3)), alpha=0.1)
    return x - self.mean.view(1, -1, 1, 1)


def counter(self: Any, x: torch.Tensor) -> torch.Tensor:
    self.calls = getattr(self, "calls", 0) + 1
    return x if self.calls < 100 else -x


def counter_in_a_list(self: Any, x: torch.Tensor) -> torch.Tensor:
    self.calls = [*getattr(self, "calls", []), {"seen": 1}]
    return x


def recurrent(self: Any, x: torch.Tensor) -> torch.Tensor:
    self.hidden = torch.tanh(x + getattr(self, "hidden", 0.0))
    return torch.as_tensor(self.hidden)


def outside(self: Any, x: torch.Tensor) -> torch.Tensor:
    made = x * 2
    HISTORY.append(made)
    return made + HISTORY[0]


def only_kept(self: Any, x: torch.Tensor) -> torch.Tensor:
    self.seen = {"features": x * 2}
    return x


def first_time(self: Any, x: torch.Tensor) -> torch.Tensor:
    known, self.known = getattr(self, "known", False), True
    return x if known else -x


def unseen(self: Any, x: torch.Tensor) -> torch.Tensor:
    return x + torch.utils.dlpack.from_dlpack(torch.utils.dlpack.to_dlpack(x))


def storage(self: Any, x: torch.Tensor) -> torch.Tensor:
    made = torch.empty(0).set_(x.untyped_storage(), 0, x.shape, x.stride())  # type: ignore[call-overload]
    return x + made


def running(self: Any, x: torch.Tensor) -> torch.Tensor:
    return functional.batch_norm(x, self.mean, self.variance, training=True)


# name: forward, and what the message says after the path
STATE: dict[str, tuple[Callable[[Any, torch.Tensor], Any], str]] = {
    "a background": (background, "keeps 'background' for later calls"),
    "a moving average": (moving_average, "keeps 'average' for later calls"),
    "a moving average in a buffer": (average_buffer, "keeps 'mean' for later calls"),
    "a counter": (counter, "changes 'calls' in every call"),
    "a list that grows": (counter_in_a_list, "changes 'calls' in every call"),
    "a recurrent cell": (recurrent, "keeps 'hidden' for later calls"),
    "a list outside the module": (outside, "keeps a tensor of the frame for later calls"),
    "what nothing reads": (only_kept, "keeps 'seen' for later calls"),
    "running statistics": (running, "changes 'mean' in every call"),
    "NumPy": (lambda self, x: x * torch.from_numpy(np.tanh(x.numpy())), r"numpy\(\) takes values out"),
    "np.asarray": (lambda self, x: x * torch.tensor(np.asarray(x) * 2), r"__array__\(\) takes values out"),
    "DLPack": (lambda self, x: x + torch.from_dlpack(x), r"__dlpack__\(\) takes values out"),
    "DLPack that nothing sees": (unseen, "add reads a constant that is another for another frame"),
    "deepcopy": (lambda self, x: x + copy.deepcopy(x), r"__deepcopy__\(\) takes values out"),
    "storage": (storage, r"untyped_storage\(\) takes values out"),
    "a branch on a list": (
        lambda self, x: x if x.amax((0, 2, 3)).tolist()[0] > 1 else -x,
        r"tolist\(\) takes",
    ),
    "a branch on a text": (
        lambda self, x: x if "-" in str(x.mean()) else -x,
        r"__repr__\(\) takes values out",
    ),
    "a tensor of numbers": (
        lambda self, x: x * torch.tensor([x.mean(), 1.0])[0],
        r"tensor\(\) takes values out",
    ),
    "a number as result": (lambda self, x: (x, x.mean().tolist()), r"tolist\(\) takes values out"),
    "random numbers": (lambda self, x: functional.dropout(x), "draws random numbers"),
}


@pytest.mark.parametrize("name", STATE)
def test_what_one_frame_cannot_show_is_refused(name: str) -> None:
    forward, message = STATE[name]
    HISTORY.clear()
    executor = SparseExecutor(Outer(Inner(forward)).eval())
    with pytest.raises(UnsupportedModule, match=rf"^model\.body\.1: .*{message}") as caught:
        executor.dense(torch.rand(1, 3, 16, 16))
    assert "\n" not in str(caught.value)


def test_a_first_call_that_is_another_is_refused() -> None:
    executor = SparseExecutor(Outer(Inner(first_time)).eval())
    with pytest.raises(UnsupportedModule, match="another result the second time"):
        executor.dense(torch.rand(1, 3, 16, 16))


def test_instance_norm_that_trains_is_refused() -> None:
    model = Outer(nn.InstanceNorm2d(4, track_running_stats=True)).train()
    with pytest.raises(UnsupportedModule, match=r"^model\.body\.1: InstanceNorm2d is in training mode"):
        SparseExecutor(model)


def test_a_number_that_changes_by_itself_is_refused() -> None:
    numbers = iter(range(100))
    executor = SparseExecutor(Outer(Inner(lambda self, x: (x, next(numbers)))).eval())
    with pytest.raises(UnsupportedModule, match=r"^model: returns a constant that is another"):
        executor.dense(torch.rand(1, 3, 16, 16))


def test_bits_of_rounded_numbers_are_refused() -> None:
    """A convolution's last bits are not the module's: their value as whole numbers is not to be had."""
    executor = SparseExecutor(Outer(Inner(lambda self, x: x.view(torch.int32))).eval())
    with pytest.raises(UnsupportedModule, match=r"^model\.body\.1.*: the executor's result is not"):
        executor.dense(torch.rand(1, 3, 16, 16))


def test_a_module_that_fails_is_named() -> None:
    def fail(self: Any, x: torch.Tensor) -> torch.Tensor:
        raise IndexError("no such level")

    executor = SparseExecutor(Outer(Inner(fail)).eval())
    message = "frame of shape (1, 3, 16, 16) does not go through the model: at model.body.1: IndexError"
    with pytest.raises(ValueError, match=re.escape(message)):
        executor.dense(torch.rand(1, 3, 16, 16))


def test_what_a_module_sets_up_once_is_no_state() -> None:
    """Constants of a frame size, as detectors' anchors are."""

    def anchors(self: Any, x: torch.Tensor) -> torch.Tensor:
        if getattr(self, "size", None) != x.shape:
            self.size, self.grid = x.shape, torch.arange(x.shape[3]).float() + x.new_zeros(1)
        return x + self.grid

    model = Outer(Inner(anchors)).eval()
    executor, frame = SparseExecutor(model), torch.rand(1, 3, 16, 16)
    executor.dense(frame)
    with torch.no_grad():
        torch.testing.assert_close(executor.dense(frame + 1)[0], model(frame + 1))


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf"), 3e38, 255.0])
def test_any_frame_will_do_for_a_trace(value: float) -> None:
    """The second frame is in the range of the first, which may have none."""
    model = nn.Conv2d(3, 4, 3, padding=1).eval()
    executor, frame = SparseExecutor(model), torch.rand(1, 3, 16, 16)
    executor.dense(torch.full((1, 3, 16, 16), value))
    with torch.no_grad():
        torch.testing.assert_close(executor.dense(frame)[0], model(frame))
