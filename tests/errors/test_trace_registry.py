"""Downloads against a server on this machine: checked, cached, and refused in one line."""

from __future__ import annotations

import hashlib
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from traces.__main__ import main
from traces.downloads.registry import read_registry
from traces.errors import InputError

TRACE = b"1\n2\n3\n"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server of one trace, one archive and one file that only claims to be an archive."""
    for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "link.up").write_bytes(TRACE)
    with zipfile.ZipFile(folder / "set.zip", "w") as archive:
        archive.writestr("set/a.log", "1 2\n2 3\n")
    (folder / "page.zip").write_text("<html>moved</html>")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _registry(tmp_path: Path, url: str, sha256: str | None = None, unpack: bool = False) -> str:
    entry = {
        "kind": "trace",
        "description": "a test",
        "page": "https://example.org/page",
        "licence": "CC0",
        "citation": "Someone, 2020",
        "format": "mahimahi",
        "files": [{"file": url.rpartition("/")[2], "address": url, "sha256": sha256, "unpack": unpack}],
    }
    path = tmp_path / "registry.yaml"
    path.write_text(yaml.safe_dump({"small": entry}))
    return str(path)


def _get(tmp_path: Path, registry: str, name: str = "small") -> int:
    return main(["get", name, "--registry", registry, "--cache", str(tmp_path / "cache")])


def _error(capsys: pytest.CaptureFixture[str]) -> str:
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    return lines[0]


def test_a_download_is_checked_cached_and_cited(
    tmp_path: Path, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    registry = _registry(tmp_path, f"{address}/link.up", hashlib.sha256(TRACE).hexdigest())
    assert _get(tmp_path, registry) == 0
    first = capsys.readouterr()
    assert (tmp_path / "cache" / "small" / "link.up").read_bytes() == TRACE
    assert "(downloaded; sha256 checked)" in first.out
    assert "Someone, 2020" in first.out
    assert "CC0" in first.out
    assert first.err == ""
    assert _get(tmp_path, registry) == 0
    assert "(in the cache; sha256 checked)" in capsys.readouterr().out


def test_without_a_recorded_hash_it_says_so(
    tmp_path: Path, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _get(tmp_path, _registry(tmp_path, f"{address}/link.up"), "small/link.up") == 0
    assert f"no sha256 recorded; this one is {hashlib.sha256(TRACE).hexdigest()}" in capsys.readouterr().out


def test_an_archive_is_unpacked(tmp_path: Path, address: str) -> None:
    assert _get(tmp_path, _registry(tmp_path, f"{address}/set.zip", unpack=True)) == 0
    assert (tmp_path / "cache" / "small" / "set" / "set" / "a.log").is_file()


def test_a_wrong_hash_is_refused_and_nothing_kept(
    tmp_path: Path, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _get(tmp_path, _registry(tmp_path, f"{address}/link.up", "0" * 64)) == 2
    message = _error(capsys)
    assert f"expected sha256 {'0' * 64}, found {hashlib.sha256(TRACE).hexdigest()}" in message
    assert list((tmp_path / "cache" / "small").iterdir()) == []


def test_a_page_instead_of_an_archive_is_refused_and_not_kept(
    tmp_path: Path, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _get(tmp_path, _registry(tmp_path, f"{address}/page.zip", unpack=True)) == 2
    assert "expected a zip archive, found something else" in _error(capsys)
    assert list((tmp_path / "cache" / "small").iterdir()) == []


def test_a_file_that_is_gone(tmp_path: Path, address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _get(tmp_path, _registry(tmp_path, f"{address}/gone.up")) == 2
    assert "found HTTP 404; look at https://example.org/page" in _error(capsys)


def test_no_network(tmp_path: Path, address: str, capsys: pytest.CaptureFixture[str]) -> None:
    # A port of this machine that nothing listens on refuses at once, as an unplugged network does.
    assert _get(tmp_path, _registry(tmp_path, "http://127.0.0.1:9/link.up")) == 2
    message = _error(capsys)
    assert "check the network, or download it by hand from https://example.org/page" in message


def test_an_unknown_name_gets_the_nearest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["get", "mahimaho", "--cache", str(tmp_path)]) == 2
    assert "nearest: mahimahi" in _error(capsys)
    assert main(["get", "mahimahi/nothing.up", "--cache", str(tmp_path)]) == 2
    assert "file must be in ['ATT-LTE-driving-2016.down'" in _error(capsys)


def test_without_a_name_the_entries_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["get"]) == 0
    listed = capsys.readouterr().out
    for name in ("mahimahi", "ghent", "madrid", "davis"):
        assert name in listed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n- b\n", "expected entries by name, found list"),
        ("a: [\n", "expected YAML"),
        ("a: {kind: trace}\n", "entry a: expected the keys citation, description"),
    ],
)
def test_broken_registries(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "registry.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_registry(path)
    with pytest.raises(InputError, match="expected a registry file"):
        read_registry(tmp_path / "none.yaml")


def test_registered_hashes_and_names_must_be_plain(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="sha256 must be 64 hex digits or null"):
        read_registry(Path(_registry(tmp_path, "http://127.0.0.1/x", "abc")))
    registry = Path(_registry(tmp_path, "http://127.0.0.1/x"))
    registry.write_text(registry.read_text().replace("file: x", "file: ../x"))
    with pytest.raises(InputError, match="file must be a plain name"):
        read_registry(registry)
