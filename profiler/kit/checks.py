"""Before anything is measured: is what is here enough, and does every backend compute what it should?"""

from __future__ import annotations

from collections.abc import Callable

from profiler.kit.board import Finding, check_clocks, check_libraries, first_line
from profiler.measure.devices import check_device
from traces.errors import InputError


def chosen_device(device: str | None) -> str:
    """The device that was asked for, else the first GPU, else the processor.

    Raises:
        InputError: it does not exist here.
    """
    import torch

    if device is None:
        device = "cuda:0" if torch.cuda.is_available() else "cpu"
    check_device(device)
    return device


def check_board(
    device: str | None, power_mode: str | None, say: Callable[[str], None], *, quick: bool = False
) -> list[Finding]:
    """Look at everything that a measurement stands on, and say it line by line.

    Args:
        device: to measure; None for what is there.
        power_mode: that a Jetson must be in; None for any.
        say: told each finding as it is made.
        quick: leave out the comparison of operations with their reference.

    Returns:
        The findings; one that is not good stops nothing by itself.

    Raises:
        InputError: nothing can be measured: no torch, no device, the wrong power mode.
    """
    findings: list[Finding] = []

    def add(found: list[Finding]) -> None:
        findings.extend(found)
        for one in found:
            say(str(one))

    add(check_libraries())
    device = chosen_device(device)
    add([Finding("device", True, device)])
    add(check_clocks(device, power_mode))
    add([_search()])
    kind = "cpu" if device == "cpu" else "cuda"
    add(_backends(kind))
    if not quick:
        add(_operations(kind))
    return findings


def _search() -> Finding:
    from kernels.motion import compiled_search

    reason = compiled_search.unavailable()
    return Finding(
        "search", reason is None, "C++" if reason is None else f"none on the processor: {one_line(reason)}"
    )


def _backends(kind: str) -> list[Finding]:
    from kernels.ops import registry

    found = []
    for name in registry.preferences(kind):
        reason = registry.unavailable(name, kind)
        said = "can run" if reason is None else f"cannot run: {one_line(reason)}"
        found.append(Finding(name, reason is None, f"{said}{_built(name, kind) if reason is None else ''}"))
    return found


def _built(name: str, kind: str) -> str:
    if name != "cuda" or kind != "cuda":
        return ""
    import torch

    from kernels.ops.cuda.build import architecture, built_by

    return f", {built_by(architecture(torch.cuda.current_device()))}"


def _operations(kind: str) -> list[Finding]:
    """Each operation of each backend against the reference, and the executor with it."""
    from kernels.bench.check import check

    found: list[Finding] = []
    by_backend: dict[str, list[str]] = {}
    try:
        for one in check():
            if one.device == kind and one.error is not None:
                wrong = by_backend.setdefault(one.backend, [])
                if not one.passed:
                    wrong.append(one.operation)
    except RuntimeError as error:  # such as a driver that is older than the toolkit
        return [Finding("operations", False, f"cannot be launched: {first_line(error)}")]
    for backend, wrong in by_backend.items():
        said = (
            f"{backend} computes what the reference does"
            if not wrong
            else f"{backend} is wrong: {', '.join(wrong)}"
        )
        found.append(Finding("operations", not wrong, said, backend))
    return found


def refuse_wrong(findings: list[Finding], backend: str | None) -> None:
    """Refuse to time a backend that computes something else.

    Raises:
        InputError: the backend that would run is among those that are wrong.
    """
    wrong = [one for one in findings if one.what == "operations" and one.good is False]
    mine = [one for one in wrong if backend is None or one.backend in (None, backend)]
    if mine:
        raise InputError(
            f"backend: expected one that is right, found {mine[0].said}: backend=reference runs without it"
        )


def one_line(text: str) -> str:
    """A reason in one line of bounded length."""
    return " ".join(text.split())[:200]
