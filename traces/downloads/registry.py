"""Downloads of public traces and videos: what there is (registry.yaml), fetched once, checked, cached."""

from __future__ import annotations

import difflib
import hashlib
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from traces.errors import InputError

REGISTRY = Path(__file__).with_name("registry.yaml")
TIMEOUT_S = 30.0
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FILE_KEYS = {"file", "address", "sha256", "unpack"}
_ENTRY_KEYS = {"kind", "description", "page", "licence", "citation", "format", "files"}


@dataclass(frozen=True, slots=True)
class DatasetFile:
    """A file to download: its name in the cache, its address, its sha256 if recorded, whether to unzip it."""

    file: str
    address: str
    sha256: str | None
    unpack: bool


@dataclass(frozen=True, slots=True)
class Dataset:
    """An entry of the registry: files that belong together, with licence and citation."""

    name: str
    kind: str
    description: str
    page: str
    licence: str
    citation: str
    format: str | None
    files: tuple[DatasetFile, ...]


@dataclass(frozen=True, slots=True)
class Download:
    """A file that is now in the cache: where (the folder of an unpacked archive), its hash, how it came."""

    path: Path
    sha256: str
    checked: bool
    downloaded: bool


def read_registry(path: Path = REGISTRY) -> dict[str, Dataset]:
    """All entries by name.

    Raises:
        InputError: the file is missing, is no YAML, or an entry lacks a key.
    """
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: expected a registry file, found {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        problem = " ".join(str(error).split())
        raise InputError(f"{path}: expected YAML, found {problem}") from error
    if not isinstance(content, dict) or not content:
        raise InputError(f"{path}: expected entries by name, found {type(content).__name__}")
    return {name: _entry(path, name, fields) for name, fields in content.items()}


def find(registry: dict[str, Dataset], name: str) -> Dataset:
    """The entry `name`, or the entry with one of its files for `name/file`.

    Raises:
        InputError: there is none; the message gives the nearest names.
    """
    entry_name, _, file_name = name.partition("/")
    if entry_name not in registry:
        near = difflib.get_close_matches(entry_name, registry, n=3, cutoff=0.4) or sorted(registry)
        raise InputError(f"name must be in {sorted(registry)} (got {name!r}); nearest: {', '.join(near)}")
    entry = registry[entry_name]
    if not file_name:
        return entry
    chosen = tuple(file for file in entry.files if file.file == file_name)
    if not chosen:
        files = [file.file for file in entry.files]
        raise InputError(f"{entry_name}: file must be in {files} (got {file_name!r})")
    return Dataset(
        entry.name,
        entry.kind,
        entry.description,
        entry.page,
        entry.licence,
        entry.citation,
        entry.format,
        chosen,
    )


def fetch(entry: Dataset, file: DatasetFile, cache: Path) -> Download:
    """Download a file unless the cache has it, check its hash where one is recorded, unzip where asked.

    A file whose hash is wrong is not kept.

    Raises:
        InputError: no network, an address that does not answer, a wrong hash, or a broken archive.
    """
    import pooch
    import requests

    pooch.get_logger().setLevel("WARNING")
    folder = cache / entry.name
    target = folder / file.file
    before = target.is_file()
    by_hand = f"or download it by hand from {entry.page}"
    # Hidden where the output is no terminal; pooch itself writes to a temporary file and then renames it.
    downloader = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=TIMEOUT_S)
    try:
        pooch.retrieve(
            file.address, known_hash=file.sha256, fname=file.file, path=folder, downloader=downloader
        )
    except requests.exceptions.HTTPError as error:
        status = error.response.status_code if error.response is not None else "an error"
        raise InputError(
            f"{file.address}: expected the file, found HTTP {status}; look at {entry.page}"
        ) from error
    except requests.exceptions.RequestException as error:
        raise InputError(
            f"{file.address}: expected an answer within {TIMEOUT_S:g} s, found none "
            f"({type(error).__name__}); check the network, {by_hand}"
        ) from error
    except ValueError as error:
        found = [digest for digest in _SHA256.findall(str(error)) if digest != file.sha256]
        raise InputError(
            f"{file.address}: expected sha256 {file.sha256}, found {found[-1] if found else 'another'}; "
            f"the download was not kept; the file may have changed, see {entry.page}"
        ) from error
    except OSError as error:
        raise InputError(f"{target}: expected a cache that can be written, found {error.strerror}") from error
    path = _unpack(target) if file.unpack else target
    return Download(path, _sha256_of(target), checked=file.sha256 is not None, downloaded=not before)


def _unpack(archive: Path) -> Path:
    """The folder beside a zip archive with its content; unpacked once, whole or not at all."""
    import shutil
    import zipfile

    folder = archive.with_suffix("")
    if folder.is_dir():
        return folder
    partial = folder.with_name(folder.name + ".part")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with zipfile.ZipFile(archive) as content:
            content.extractall(partial)  # zipfile keeps members inside the folder
    except zipfile.BadZipFile as error:
        shutil.rmtree(partial, ignore_errors=True)
        archive.unlink()
        raise InputError(
            f"{archive}: expected a zip archive, found something else; it was not kept"
        ) from error
    partial.rename(folder)
    return folder


def _sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _entry(path: Path, name: str, fields: Any) -> Dataset:
    if not isinstance(fields, dict) or set(fields) != _ENTRY_KEYS:
        raise InputError(f"{path}, entry {name}: expected the keys {', '.join(sorted(_ENTRY_KEYS))}")
    if fields["kind"] not in ("trace", "video"):
        raise InputError(f"{path}, entry {name}: kind must be trace or video (got {fields['kind']!r})")
    files = fields["files"]
    if not isinstance(files, list) or not files:
        raise InputError(f"{path}, entry {name}: expected at least one file")
    return Dataset(
        name=name,
        kind=fields["kind"],
        description=fields["description"],
        page=fields["page"],
        licence=fields["licence"],
        citation=fields["citation"],
        format=fields["format"],
        files=tuple(_file(path, name, file) for file in files),
    )


def _file(path: Path, name: str, fields: Any) -> DatasetFile:
    if not isinstance(fields, dict) or not {"file", "address", "sha256"} <= set(fields) <= _FILE_KEYS:
        raise InputError(f"{path}, entry {name}: expected each file to have file, address, sha256 (or null)")
    sha256 = fields["sha256"]
    if sha256 is not None and not _SHA256.fullmatch(str(sha256)):
        raise InputError(f"{path}, entry {name}: sha256 must be 64 hex digits or null (got {sha256!r})")
    file_name = str(fields["file"])
    if Path(file_name).name != file_name:
        raise InputError(f"{path}, entry {name}: file must be a plain name (got {file_name!r})")
    return DatasetFile(file_name, fields["address"], sha256, bool(fields.get("unpack", False)))
