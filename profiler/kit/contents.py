"""What goes into the kit: every module that measuring reaches, lowered, with sources to compile and data."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from profiler.kit.lowering import lower
from traces.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("conf", "kernels", "profiler", "traces")
ROOTS = ("profiler.kit.program", "profiler.kit.gpu", "kernels.bench.gpu", "kernels.executor.cuda_graph")
# Reached by calls that a board never makes: what they would need is not there. A package stands for all
# below it.
LEFT_OUT = (
    "kernels.codecs.feature_codec",
    "kernels.codecs.payload_frames",
    "kernels.codecs.pixel_delta",
    "kernels.codecs.residual",
    "kernels.models.networks.staged",
    "kernels.motion.warp",
    "kernels.ops.cuda.shim",
    "profiler.latency.profile",
    "profiler.latency.profile_file",
    "profiler.latency.split_table",
    "traces.bandwidth",
    "traces.video",
)
# Archive path → the module that takes that place.
CARRIED = {
    "kernels/codecs/block_pixels.py": "profiler/kit/carried/block_pixels.py",
    "kernels/motion/image_pyramid.py": "profiler/kit/carried/image_pyramid.py",
    "kernels/motion/search.py": "profiler/kit/carried/search.py",
    "profiler/latency/__init__.py": "profiler/kit/carried/__init__.py",
    "safetensors/__init__.py": "profiler/kit/carried/safetensors_error.py",
    "safetensors/torch.py": "profiler/kit/carried/safetensors_torch.py",
    "older_python.py": "profiler/kit/carried/older_python.py",
    "__main__.py": "profiler/kit/carried/start.py",
}
DATA = (
    "LICENSE",
    "kernels/motion/*.cpp",
    "kernels/ops/cpu/**/*.cpp",
    "kernels/ops/cpu/**/*.h",
    "kernels/ops/cuda/*.cu",
    "kernels/ops/cuda/*.cuh",
    "kernels/ops/cuda/*.h",
    "kernels/ops/cuda/shim/shim.h",
    "kernels/ops/cuda/shim/fibers.cpp",
    "profiler/kit/*.npz",
)
REQUIRED = ("numpy", "torch")  # and the standard library
OPTIONAL = ("PIL", "av", "cv2", "pynvml", "triton")  # used where they are, never needed
# Imported in functions that only the desk calls.
DESK = ("platformdirs", "pyarrow", "pandas", "yaml")
MANIFEST = "profiler/kit/manifest.json"


def kit_files(commit: str | None, extra: Mapping[str, bytes] | None = None) -> dict[str, bytes]:
    """Archive path → content of everything in a kit, the manifest with its hashes last.

    Args:
        commit: of the code; None outside a checkout.
        extra: further files, such as compiled kernels or a video's frames.

    Raises:
        InputError: a source file is missing, as in an installation without sources.
        CannotLower: a module uses what Python 3.8 does not have.
    """
    files: dict[str, bytes] = {}
    for path in sorted(carried_modules()):
        source = ROOT / CARRIED.get(path, path)
        try:
            text = source.read_text(encoding="utf-8")
        except OSError as error:
            raise InputError(f"kit: {source}: expected a source file, found {error}") from error
        files[path] = lower(text, path).encode()
    for pattern in DATA:
        for source in sorted(ROOT.glob(pattern)):
            files[source.relative_to(ROOT).as_posix()] = source.read_bytes()
    files.update(extra or {})
    hashes = {path: hashlib.sha256(content).hexdigest() for path, content in sorted(files.items())}
    digest = hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()[:16]
    made = {"kit": digest, "commit": commit, "files": hashes}
    files[MANIFEST] = (json.dumps(made, indent=1, sort_keys=True) + "\n").encode()
    return files


def carried_modules() -> set[str]:
    """Archive paths of all modules: those that the roots reach, and those that take another's place."""
    found = set(CARRIED)
    waiting = list(ROOTS)
    while waiting:
        name = waiting.pop()
        path = module_path(name)
        if path is None or path in found & set(CARRIED):
            continue
        if path in found or is_left_out(name):
            continue
        found.add(path)
        waiting += [name.rpartition(".")[0]] if "." in name else []
        waiting += [one for one, _ in imports_of(ROOT / path)]
    return found


def is_left_out(name: str) -> bool:
    """Whether a module is one that boards do without."""
    return any(name == one or name.startswith(f"{one}.") for one in LEFT_OUT)


def module_path(name: str) -> str | None:
    """Where a module of the project lies, from the root; None for any other."""
    if name.split(".")[0] not in PACKAGES:
        return None
    base = name.replace(".", "/")
    for path in (f"{base}.py", f"{base}/__init__.py"):
        if path in CARRIED or (ROOT / path).is_file():
            return path
    return None


def imports_of(path: Path) -> Iterator[tuple[str, bool]]:
    """Every module that a file imports when it runs, and whether that happens as it is imported itself.

    ``from a import b`` counts as a and as a.b. What is imported for the types alone is left out.
    """
    yield from _imports(ast.parse(path.read_text(encoding="utf-8")), True)


def _imports(node: ast.AST, at_once: bool) -> Iterator[tuple[str, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        if isinstance(child, ast.Import):
            yield from ((alias.name, at_once) for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module:
            yield child.module, at_once
            yield from ((f"{child.module}.{alias.name}", at_once) for alias in child.names)
        # What stands in a try may fail, and says so: it is asked for, not needed.
        inner = isinstance(child, (ast.FunctionDef, ast.Lambda, ast.Try))
        yield from _imports(child, at_once and not inner)
