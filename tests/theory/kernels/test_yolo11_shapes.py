"""What the published description of YOLO11 says about its maps, held against ours on the meta device."""

from __future__ import annotations

import pytest
import torch

from kernels.models.registry import YOLO11_NAMES, build_model


@pytest.mark.parametrize("name", YOLO11_NAMES)
def test_raw_maps_have_the_documented_shapes(name: str) -> None:
    with torch.device("meta"):
        outputs = build_model(name)(torch.empty(2, 3, 320, 448))
    levels = [(320 // s, 448 // s) for s in (8, 16, 32)]
    assert [tuple(m.shape) for m in outputs["boxes"]] == [(2, 64, *level) for level in levels]
    assert [tuple(m.shape) for m in outputs["classes"]] == [(2, 80, *level) for level in levels]
    if name.endswith("-seg"):
        assert [tuple(m.shape) for m in outputs["coefficients"]] == [(2, 32, *level) for level in levels]
        assert [tuple(m.shape) for m in outputs["prototypes"]] == [(2, 32, 80, 112)]
    else:
        assert set(outputs) == {"boxes", "classes"}


@pytest.mark.parametrize("name", ["yolo11n", "yolo11m-seg", "yolo11x"])
def test_graph_is_static_so_that_an_executor_can_trace_it(name: str) -> None:
    with torch.device("meta"):
        model = build_model(name)
        frame = torch.empty(1, 3, 64, 64)
        traced = torch.fx.symbolic_trace(model)
        expected, actual = model(frame), traced(frame)
    assert {k: [m.shape for m in v] for k, v in expected.items()} == {
        k: [m.shape for m in v] for k, v in actual.items()
    }


def test_traced_graph_computes_the_same_values() -> None:
    torch.manual_seed(0)
    model, frame = build_model("yolo11n-seg"), torch.rand(1, 3, 96, 64)
    with torch.inference_mode():
        expected, actual = model(frame), torch.fx.symbolic_trace(model)(frame)
    for key, maps in expected.items():
        for one, other in zip(maps, actual[key], strict=True):
            assert torch.equal(one, other)


def test_number_of_classes_changes_the_class_maps_only() -> None:
    with torch.device("meta"):
        outputs = build_model("yolo11n-seg", classes=5)(torch.empty(1, 3, 64, 64))
    assert [m.shape[1] for m in outputs["classes"]] == [5, 5, 5]
    assert [m.shape[1] for m in outputs["boxes"]] == [64, 64, 64]


def test_importing_the_package_does_not_import_torch() -> None:
    import subprocess
    import sys

    code = "import sys, kernels.models; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
