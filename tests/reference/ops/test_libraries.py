"""Built libraries: made once, checked whenever they are loaded, shared by processes and users."""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from kernels.ops import libraries
from kernels.ops.cpu.loader import compiler
from kernels.ops.libraries import BuildError, BuildRecipe, load, obtain

# Writes "made from <sources>" to what follows -o, and notes that it ran.
COMPILER = """#!/bin/sh
if [ "$1" = --version ]; then echo {version}; exit 0; fi
echo x >> {runs}
while [ "$1" != -o ]; do given="$given $1"; shift; done
echo "made from$given" > "$2"
"""


class Workshop:
    """A compiler, a source and a cache of their own."""

    def __init__(self, folder: Path) -> None:
        self.cache, self._runs = folder / "cache", folder / "runs"
        self.source = folder / "source.cpp"
        self.source.write_text("int one;")
        self.recipe = BuildRecipe("cpu", [self.source], [self.source], ["-O3"])
        self.compiler = folder / "compiler"
        self.release("1.0")

    def release(self, version: str) -> None:
        self.compiler.write_text(COMPILER.format(version=version, runs=self._runs))
        self.compiler.chmod(0o755)

    def obtain(self, recipe: BuildRecipe | None = None, compiler: bool = True) -> Path:
        return obtain(recipe or self.recipe, str(self.compiler) if compiler else None, "nothing here")

    @property
    def runs(self) -> int:
        return len(self._runs.read_text().split())


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    monkeypatch.setenv("FLUXSHARD_CACHE", str(tmp_path / "cache"))
    return Workshop(tmp_path)


def test_a_library_is_made_once_from_the_same(workshop: Workshop) -> None:
    first = workshop.obtain()
    assert workshop.obtain() == first
    assert workshop.runs == 1
    others = [workshop.obtain(replace(workshop.recipe, flags=["-O0"]))]
    others.append(workshop.obtain(replace(workshop.recipe, machine="another")))
    workshop.source.write_text("int two;")
    others.append(workshop.obtain())
    workshop.release("1.1")
    others.append(workshop.obtain())
    assert len({first, *others}) == workshop.runs == 5
    assert sorted(workshop.cache.iterdir()) == sorted({first, *others})  # nothing else is left there


def test_where_headers_are_says_nothing(workshop: Workshop) -> None:
    first = workshop.obtain(replace(workshop.recipe, includes=[Path("here")]))
    assert workshop.obtain(replace(workshop.recipe, includes=[Path("there")])) == first


@pytest.mark.parametrize("damage", [b"", b"made", b"made from something longer than it was\n"])
def test_a_damaged_library_is_made_again(workshop: Workshop, damage: bytes) -> None:
    path = workshop.obtain()
    whole = path.read_bytes()
    path.write_bytes(damage)
    assert workshop.obtain().read_bytes() == whole
    assert workshop.runs == 2


def test_without_a_compiler_a_whole_library_will_do(workshop: Workshop) -> None:
    with pytest.raises(BuildError, match="nothing here"):
        workshop.obtain(compiler=False)
    path = workshop.obtain()
    assert workshop.obtain(compiler=False) == path
    with pytest.raises(BuildError, match="nothing here"):
        workshop.obtain(replace(workshop.recipe, machine="another"), compiler=False)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BuildError, match="nothing here"):
        workshop.obtain(compiler=False)


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_the_users_mask_decides_who_may_read_it(workshop: Workshop, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        assert workshop.obtain().stat().st_mode & 0o777 == mode
    finally:
        os.umask(before)


def test_several_at_once_all_get_it(workshop: Workshop) -> None:
    with ThreadPoolExecutor(4) as pool:
        paths = [pool.submit(workshop.obtain) for _ in range(8)]
    assert {path.result() for path in paths} == set(workshop.cache.iterdir())
    assert workshop.runs == 1  # the others have waited for it
    assert workshop.obtain().read_bytes().startswith(b"made from -O3 ")


@pytest.mark.skipif(compiler() is None, reason="no C++ compiler")
def test_files_compiled_apart_make_the_same_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLUXSHARD_CACHE", str(tmp_path / "cache"))
    files = [tmp_path / "one.cpp", tmp_path / "two.cpp"]
    files[0].write_text('int two(); extern "C" int three() { return two() + 1; }')
    files[1].write_text("int two() { return 2; }")
    for apart in (False, True):
        recipe = BuildRecipe(f"numbers-{apart}", files, files, ["-O2", "-fPIC", "-shared"], apart=apart)
        assert load(obtain(recipe, compiler(), "nothing here")).three() == 3
    files[1].write_text("int two() { return }")
    recipe = BuildRecipe("numbers", files, files, ["-O2", "-fPIC", "-shared"], apart=True)
    with pytest.raises(BuildError, match=r"(?s)failed with exit code 1.*two\.cpp"):
        obtain(recipe, compiler(), "nothing here")


def test_a_cache_that_cannot_be_written_may_still_be_read(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = workshop.obtain()

    def refuse(**_: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(libraries.tempfile, "TemporaryDirectory", refuse)
    assert workshop.obtain() == path
    message = re.escape(f"cannot write to the cache {workshop.cache} (set FLUXSHARD_CACHE): read-only")
    with pytest.raises(BuildError, match=message):
        workshop.obtain(replace(workshop.recipe, machine="another"))


def test_a_cache_in_the_way_is_named(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLUXSHARD_CACHE", str(workshop.source / "below"))
    with pytest.raises(BuildError, match=r"cannot write to the cache .*below \(set FLUXSHARD_CACHE\)"):
        workshop.obtain()


def test_a_compiler_that_makes_nothing_is_quoted(workshop: Workshop) -> None:
    workshop.compiler.write_text("#!/bin/sh\necho no licence >&2\n")
    with pytest.raises(BuildError, match="failed with exit code 0:\nno licence"):
        workshop.obtain()
    assert list(workshop.cache.iterdir()) == []
    workshop.compiler.write_bytes(b"\x7fELF")
    with pytest.raises(BuildError, match="compiler does not run: "):
        workshop.obtain()


def test_what_the_system_cannot_load_is_named(workshop: Workshop) -> None:
    path = workshop.obtain()
    with pytest.raises(BuildError, match=re.escape(f"cannot load {path} (FLUXSHARD_CACHE names another")):
        load(path)
