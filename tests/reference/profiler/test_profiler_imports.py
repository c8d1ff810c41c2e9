"""What a Jetson with JetPack 5 lacks, the profiler does not import; what is heavy, it imports late."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

# Each has an aarch64 wheel for Python 3.10 and glibc 2.31, or comes from the board's own build (torch).
ON_A_JETSON = {
    "numpy",
    "scipy",
    "yaml",
    "pyarrow",
    "matplotlib",
    "torch",
    "profiler",
    "kernels",
    "traces",
    "conf",
}


def test_only_packages_that_a_jetson_has_are_imported(repository: Path) -> None:
    for path in sorted((repository / "profiler").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 10))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for name in names:
                top = name.partition(".")[0]
                assert top in ON_A_JETSON | set(sys.stdlib_module_names), f"{path.name} imports {name}"


def test_refit_needs_neither_torch_nor_numba_nor_pandas(repository: Path) -> None:
    code = (
        "import sys, profiler.refit, profiler.compare, profiler.plan, profiler.measure.samples;"
        "import profiler.__main__;"
        "print(sorted({'torch', 'numba', 'pandas', 'av', 'matplotlib', 'skimage'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=repository, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
