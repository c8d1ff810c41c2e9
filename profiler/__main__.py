"""python -m profiler: measure a device, fit its latency model, compare profiles, plan with them.

    python -m profiler model=yolo11n-seg device=cpu     measure, fit, write conf/profile/<device>/<model>.yaml
        resolution=640 precision=fp32 policy=fixed backend= repeats=15 budget_s=240 threads=1 seed=0
        video=PATH      replay active sets of a real video beside random and clustered ones
        weights=PATH    safetensors; without it random weights, which take the same time
        clock=thread    processor time, for a machine that cannot be kept quiet (cpu, one thread)
        name=NAME       the profile's folder; without it the device's own name
        out=FOLDER fresh=true
    python -m profiler codecs name=NAME [video=PATH] [resolution=640] [clock=thread] [repeats=15]
        [seed=0] [out=FOLDER]
        time every codec on the processor, for all measured profiles of a device; so does the first command
    python -m profiler kit out=fluxshard-kit.pyz [binaries=FOLDER] [video=PATH] [resolution=640]
        pack all that measuring needs into one file that a board's Python 3.8, torch and numpy run (see its
        --help)
    python -m profiler refit SAMPLES [out=FILE] [device= model= resolution= block= precision= seed=]
    python -m profiler compare A B [margin=0.05] [confidence=0.95]
        is it the same device? exit code 0 same, 1 different, 3 undecided (also where a run was disturbed)
    python -m profiler compare published/DEVICE MEASURED
        how far a measured device is from a published profile, and what a clock or resolution would explain
    python -m profiler plan edge=DEVICE/MODEL cloud=DEVICE/MODEL [active=0.25] [block_bytes=60] [delay_ms=0]
        [out=plan.png]
    python -m profiler table [FOLDER] [out=DOCUMENT]     every measured profile in one table

A profile is given as DEVICE/MODEL or as a YAML file; samples as a Parquet file, by their profile's name, or
as the file that a kit has left: then refit writes conf/profile/<device>/<model>.yaml, with the samples
beside it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from conf.search_path import checkout_folder, group_folders, package_folder, writable_folder
from profiler import options
from profiler.latency import Profile, available_profiles, load_profile, read_profile
from profiler.latency.disturbance import disturbances
from traces.errors import InputError
from traces.notices import print_in_one_line

MEASURE: dict[str, options.Parser] = {**options.MEASURING, "video": str}
CODECS: dict[str, options.Parser] = {
    "name": options.path_name,
    "video": str,
    "resolution": options.resolution,
    "clock": options.choice("wall", "thread"),
    "repeats": options.whole(3),
    "seed": options.whole(0),
    "out": str,
}
REFIT: dict[str, options.Parser] = {
    "out": str,
    "device": options.path_name,
    "model": options.path_name,
    "resolution": options.resolution,
    "block": options.whole(8),
    "precision": options.choice("fp32", "tf32", "fp16"),
    "seed": options.whole(0),
}
KIT: dict[str, options.Parser] = {
    "out": str,
    "binaries": str,
    "video": str,
    "resolution": options.resolution,
}
COMPARE: dict[str, options.Parser] = {
    "margin": options.number(0.0, "a share"),
    "confidence": options.number(0.0, "a probability", above=True),
}
PLAN: dict[str, options.Parser] = {
    "edge": str,
    "cloud": str,
    "active": options.number(0.0, "a share of all blocks", above=True),
    "block_bytes": options.number(0.0, "bytes", above=True),
    "delay_ms": options.number(0.0, "milliseconds"),
    "out": str,
}
VERDICT_CODES = {"same": 0, "different": 1, "undecided": 3}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 2 with one line on bad input."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    commands = {
        "codecs": _codecs,
        "kit": _kit,
        "refit": _refit,
        "compare": _compare,
        "plan": _plan,
        "table": _table,
    }
    if not given or given[0] == "help" or {"-h", "--help"} & set(given):
        print(__doc__)
        return 0 if given else 2
    print_in_one_line()
    try:
        if given[0] in commands:
            return commands[given[0]](given[1:])
        return _measure(given)
    except InputError as error:
        print(f"profiler: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("profiler: interrupted; samples so far are kept, the same command resumes", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, ``head`` for instance, has seen enough
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - the interpreter flushes it on its way out
        return 0


def _measure(arguments: list[str]) -> int:
    words, values = options.parse(arguments, MEASURE)
    if words:
        raise InputError(
            f"command: expected key=value, codecs, kit, refit, compare, plan or table, found {words[0]!r}"
        )
    if "model" not in values:
        raise InputError("model: expected model=<name>, found none")
    from profiler.report.profile_report import summary
    from profiler.run import ProfilingOptions, plot_path, profile_device

    if "resolution" in values:
        values["resolution_px"] = values.pop("resolution")
    found, path = profile_device(ProfilingOptions(**values), say=lambda line: print(line, flush=True))
    print(f"\n{summary(found)}\n\n{path}\n{found.samples.where}\n{plot_path(found.samples.where, path)}")
    return 0


def _codecs(arguments: list[str]) -> int:
    words, values = options.parse(arguments, CODECS)
    if words:
        raise InputError(f"codecs: expected key=value, found {words[0]!r}")
    from profiler.codecs import CodecOptions, run

    if "resolution" in values:
        values["resolution_px"] = values.pop("resolution")
    return run(CodecOptions(**values), say=lambda line: print(line, flush=True))


def _kit(arguments: list[str]) -> int:
    words, values = options.parse(arguments, KIT)
    if words or "out" not in values:
        raise InputError(f"kit: expected out=FILE, found {arguments}")
    from profiler.kit.archive import write_kit

    out, binaries = Path(values["out"]), values.get("binaries")
    files = write_kit(
        out,
        video=values.get("video"),
        resolution_px=values.get("resolution", (640, 640)),
        binaries=None if binaries is None else Path(binaries),
    )
    print(f"{out}: {len(files)} files, {out.stat().st_size / 1e6:.1f} MB")
    print(
        f"on the board: python3 {out.name} model=yolo11n-seg\n"
        "here, with the file that it leaves: python -m profiler refit FILE"
    )
    return 0


def _refit(arguments: list[str]) -> int:
    words, values = options.parse(arguments, REFIT)
    if len(words) != 1:
        raise InputError(f"refit: expected one samples file, found {words}")
    from profiler.kit.samples_file import is_samples_log
    from profiler.report.profile_report import summary
    from profiler.run import fit_and_write, plot_path

    if is_samples_log(words[0]):
        from profiler.kit.reading import keep_samples, target

        named = target(words[0], writable_folder("profile"), values.get("device"), values.get("model"))
        values.setdefault("out", str(named))
        samples, notes = keep_samples(words[0], Path(values["out"]))
        for note in notes:
            print(f"note: {note}")
    else:
        samples = _samples_path(words[0])
    out = values.pop("out", None) or _profile_beside(samples)
    seed = values.pop("seed", 0)
    names = {"resolution": "resolution_px", "block": "block_px"}
    overrides: dict[str, Any] = {names.get(key, key): value for key, value in values.items()}
    found, path = fit_and_write(samples, out, overrides, seed=seed)
    for key in ("device", "model"):
        if key not in overrides and key not in found.samples.meta:
            name = getattr(found.profile, key)
            print(
                f"note: the samples name no {key}: {name!r} from where the profile lies; {key}= names another"
            )
    print(f"{summary(found)}\n\n{path}\n{plot_path(samples, path)}")
    return 0


def _compare(arguments: list[str]) -> int:
    words, values = options.parse(arguments, COMPARE)
    if len(words) != 2:
        raise InputError(f"compare: expected two profiles, found {words}")
    if words[0].startswith("published/"):
        return _compare_published(words[0].partition("/")[2], words[1])
    from profiler.compare import compare, summary
    from profiler.measure.samples import read_samples

    a, b = (read_samples(_samples_path(word)) for word in words)
    found = compare(a, b, **values)
    print(summary(found, a, b))
    return VERDICT_CODES[found.verdict]


def _compare_published(device: str, measured: str) -> int:
    from profiler.published import shared_models, summary

    published = _profiles_of(device, "published")
    pairs = shared_models(
        published, [_profile(measured)] if _names_one(measured) else _profiles_of(measured, "measured")
    )
    print("\n\n".join(summary(*pair) for pair in pairs))
    return 0


def _names_one(text: str) -> bool:
    """Whether a text names one profile, and not a device."""
    return "/" in text or text.endswith((".yaml", ".yml"))


def _profiles_of(device: str, kind: str) -> list[Profile]:
    """A device's profiles: its measured ones, or those of papers."""
    models = available_profiles().get(device, ())
    found = [_profile(f"{device}/{model}") for model in models]
    kept = [one for one in found if (one.provenance["kind"] == "measured") == (kind == "measured")]
    if not kept:
        raise InputError(f"compare: expected a device with {kind} profiles, found {device!r}")
    return kept


def _plan(arguments: list[str]) -> int:
    words, values = options.parse(arguments, PLAN)
    if words or "edge" not in values or "cloud" not in values:
        raise InputError(f"plan: expected edge=DEVICE/MODEL cloud=DEVICE/MODEL, found {arguments}")
    from profiler.plan import offloading_map, summary

    edge, cloud = _profile(values["edge"]), _profile(values["cloud"])
    if edge.model != cloud.model:
        raise InputError(f"plan: expected profiles of one model, found {edge.model!r} and {cloud.model!r}")
    if edge.block_count != cloud.block_count:
        raise InputError(
            f"plan: expected profiles of one resolution, found {edge.resolution_px} and {cloud.resolution_px}"
        )
    share = values.get("active", 0.25)
    if share > 1:
        raise InputError(f"active: expected a share of all blocks up to 1, found {share:g}")
    common = {"block_bytes": values.get("block_bytes", 60.0), "delay_s": values.get("delay_ms", 0.0) / 1e3}
    active = max(1, round(share * edge.block_count))
    print(summary(edge, cloud, offloading_map(edge, cloud, active, **common), **common))
    if "out" in values:
        from profiler.report.plan_picture import draw_offloading_map

        picture = Path(values["out"])
        if picture.suffix != ".png":
            picture = picture.with_name(picture.name + ".png")
        draw_offloading_map(edge, cloud, active, picture, **common)
        print(f"\n{picture}")
    return 0


def _table(arguments: list[str]) -> int:
    from profiler.report.profile_table import insert, markdown, measured_profiles

    words, values = options.parse(arguments, {"out": str})
    if len(words) > 1:
        raise InputError(f"table: expected at most one folder of profiles, found {words}")
    folder = Path(words[0]) if words else None
    found = measured_profiles(folder)
    if not found:
        raise InputError(f"table: {folder or 'search path'}: expected measured profiles, found none")
    print(markdown(found))
    if "out" in values:
        insert(markdown(found), values["out"])
    return 0


def _profile(text: str) -> Profile:
    profile = _read_profile(text)
    for why in disturbances(profile.provenance):
        print(f"note: {text}: measured on a disturbed machine: {why}", file=sys.stderr)
    return profile


def _read_profile(text: str) -> Profile:
    if text.endswith((".yaml", ".yml")):
        return read_profile(text)
    device, slash, model = text.partition("/")
    if Path(text).exists():
        raise InputError(
            f"profile: expected DEVICE/MODEL or a YAML file, found {text!r}: refit makes a profile of samples"
        )
    if not device or not slash:
        raise InputError(f"profile: expected DEVICE/MODEL or a YAML file, found {text!r}")
    return load_profile(device, model)


def _samples_path(text: str) -> Path:
    """A samples file: named itself, by its folder, by its profile's YAML, or as DEVICE/MODEL."""
    path = Path(text)
    if path.suffix == ".yaml":
        path = path.with_suffix("")
    elif not path.exists():
        kept = (folder / text for folder in group_folders("profile"))
        path = next((folder for folder in kept if folder.is_dir()), path)
    if path.is_dir():
        path = path / "samples.parquet"
    if not path.is_file():
        raise InputError(
            f"samples: expected a Parquet file, a profile measured here, or DEVICE/MODEL, found {text!r}"
        )
    return path


def _profile_beside(samples: Path) -> Path:
    """``<model>/samples.parquet`` belongs to ``<model>.yaml`` beside it, any other file to its own name."""
    place = samples.resolve()
    if checkout_folder() is None and package_folder() in place.parents:  # the user's own copy, then
        place = writable_folder("profile") / place.relative_to(package_folder() / "profile")
    if samples.name == "samples.parquet" and samples.parent.with_suffix(".yaml").is_file():
        return place.parent.with_suffix(".yaml")
    return place.with_suffix(".yaml")


if __name__ == "__main__":
    sys.exit(main())
