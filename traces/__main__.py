"""`python -m traces`: look at a bandwidth trace, convert it, generate one, download public ones."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from traces.errors import InputError

if TYPE_CHECKING:
    from traces.bandwidth.trace import BandwidthTrace

GAP_STEPS = 5  # a segment this many times the median is a pause of the recorder, not a steady link


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 on success, 2 on bad input (one line on stderr)."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except InputError as error:
        if options.traceback:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `| head` closed the pipe
        sys.stderr.close()
    return 0


def _show(options: argparse.Namespace) -> None:
    from traces.bandwidth.formats import falcon
    from traces.bandwidth.loading import detect_format
    from traces.bandwidth.statistics import statistics
    from traces.bandwidth.trace import OpportunityTrace

    trace = _load(options)
    measured = statistics(trace)
    format = options.format or detect_format(options.file)
    print(f"{trace.name}{'  [synthetic]' if trace.synthetic else ''}")
    _line("file", f"{options.file} ({format})")
    if isinstance(trace, OpportunityTrace):
        _line(
            "kind", f"millisecond opportunities: {trace.times_ms.size} packets of {trace.packet_bytes} bytes"
        )
    else:
        lengths_s = trace.durations_s
        _line(
            "kind",
            f"rate segments: {lengths_s.size}, {sorted(lengths_s)[lengths_s.size // 2]:.3g} s (median), "
            f"{lengths_s.max():.3g} s (longest)",
        )
        if lengths_s.max() > GAP_STEPS * sorted(lengths_s)[lengths_s.size // 2]:
            _line("gaps", "the recording pauses; the rate before a pause holds through it")
    _line("duration", f"{measured.duration_s:g} s, then it loops")
    _line("mean", f"{measured.mean_bps / 1e6:.4g} Mbit/s")
    if measured.rate_100ms_p5_bps is not None and measured.rate_100ms_p95_bps is not None:
        _line(
            "over 100 ms",
            f"{measured.rate_100ms_p5_bps / 1e6:.4g} (5 %) to "
            f"{measured.rate_100ms_p95_bps / 1e6:.4g} (95 %) Mbit/s",
        )
    variations = (
        ("1 ms", measured.variation_1ms),
        ("100 ms", measured.variation_100ms),
        ("1 s", measured.variation_1s),
    )
    known = [f"{value:.2f} ({label})" for label, value in variations if value is not None]
    if known:
        _line("variation", f"{', '.join(known)}: standard deviation / mean")
    if measured.autocorrelation_1s is not None:
        _line("memory", f"{measured.autocorrelation_1s:.2f}: autocorrelation of 100 ms rates at 1 s")
    _line(
        "outages",
        f"{measured.outages} of 100 ms or more, {measured.outage_ratio:.1%} of the time, "
        f"longest {measured.longest_outage_s:.3g} s",
    )
    if format in ("madrid", "falcon"):
        _line("meaning", "the scheduled load of a cell, not the capacity of a link")
    if format == "falcon":
        check = falcon.check_transport_blocks(Path(options.file), options.direction)
        _line(
            "block sizes",
            f"computed sizes equal the log's in {check.exact_ratio:.1%} of {check.rows} grants, "
            f"mean error {check.mean_error:.2%}, worst {check.worst_error:.1%}",
        )
    if not options.no_plot:
        from traces.bandwidth.plot import plot_trace

        picture = Path(options.plot or f"{Path(options.file).name}.png")
        try:
            plot_trace(trace, picture)
        except (OSError, ValueError) as error:
            raise InputError(f"{picture}: expected a picture that can be written, found {error}") from error
        _line("picture", str(picture))


def _convert(options: argparse.Namespace) -> None:
    from traces.bandwidth.conversion import save_trace

    trace = _load(options)
    _report(
        options.output, save_trace(trace, options.output, options.to, bin_s=options.bin_s), trace.mean_bps
    )


def _generate(options: argparse.Namespace) -> None:
    from traces.bandwidth.conversion import save_trace
    from traces.bandwidth.synthetic import synthetic_uplink

    trace = synthetic_uplink(options.mean_mbps * 1e6, options.duration_s, options.seed)
    output = options.output or (
        f"synthetic_uplink_{options.mean_mbps:g}mbps_{options.duration_s:g}s_seed{options.seed}.csv"
    )
    _report(output, save_trace(trace, output, options.to), trace.mean_bps)


def _get(options: argparse.Namespace) -> None:
    from conf.search_path import cache_folder
    from traces.downloads.registry import REGISTRY, fetch, find, read_registry

    registry = read_registry(Path(options.registry) if options.registry else REGISTRY)
    if options.name is None:
        for entry in registry.values():
            checked = sum(file.sha256 is not None for file in entry.files)
            print(f"{entry.name:10} {entry.kind:6} {entry.description}")
            print(
                f"{'':17} {len(entry.files)} file(s), {checked} with a recorded sha256; "
                f"licence {entry.licence}"
            )
        print("\npython -m traces get NAME, or NAME/FILE for one of several files")
        return
    entry = find(registry, options.name)
    cache = Path(options.cache) if options.cache else cache_folder()
    for file in entry.files:
        fetched = fetch(entry, file, cache)
        how = "downloaded" if fetched.downloaded else "in the cache"
        checked_how = (
            "sha256 checked" if fetched.checked else f"no sha256 recorded; this one is {fetched.sha256}"
        )
        print(f"{fetched.path}  ({how}; {checked_how})")
    _line("licence", entry.licence)
    _line("cite", entry.citation)
    _line("page", entry.page)
    if entry.kind == "trace":
        _line("use", f"python -m sim trace=file trace.path=FILE trace.format={entry.format}")
    else:
        _line("use", "python -m sim video=file video.path=FOLDER")


def _load(options: argparse.Namespace) -> BandwidthTrace:
    from traces.bandwidth.loading import load_trace

    return load_trace(
        options.file,
        options.format,
        direction=options.direction,
        column=options.column,
        time_column=options.time_column,
        time_unit=options.time_unit,
        rate_unit=options.rate_unit,
        start_s=options.start_s,
        end_s=options.end_s,
        offset_s=options.offset_s,
        loop_to_s=options.loop_to_s,
        mean_bps=None if options.mean_mbps is None else options.mean_mbps * 1e6,
    )


def _line(label: str, text: str) -> None:
    print(f"  {label:12} {text}")


def _report(output: str, notes: list[str], mean_bps: float) -> None:
    print(f"{output}: {mean_bps / 1e6:.4g} Mbit/s")
    for note in notes:
        print(f"  note: {note}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m traces", description=__doc__)
    parser.add_argument("--traceback", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    show = commands.add_parser("show", help="facts and a picture of a trace file")
    _add_source(show)
    show.add_argument(
        "--plot", metavar="PATH", help="where the picture goes (default: FILE's name + .png, here)"
    )
    show.add_argument("--no-plot", action="store_true", help="facts only")
    show.set_defaults(run=_show)

    convert = commands.add_parser("convert", help="write a trace in another format")
    _add_source(convert)
    convert.add_argument("output", help="file to write; .csv, .cooked and .mahimahi name their format")
    convert.add_argument(
        "--to", choices=("mahimahi", "csv", "cooked"), help="format, if the suffix does not say"
    )
    convert.add_argument(
        "--bin-s", type=float, default=0.1, help="bins for opportunities written as rates (default 0.1)"
    )
    convert.set_defaults(run=_convert)

    generate = commands.add_parser("generate", help="write a synthetic cellular uplink")
    generate.add_argument("--mean-mbps", type=float, default=56.0, help="mean in Mbit/s (default 56)")
    generate.add_argument("--duration-s", type=float, default=60.0, help="length in seconds (default 60)")
    generate.add_argument("--seed", type=int, default=31, help="same seed, same file (default 31)")
    generate.add_argument("--output", "-o", help="file to write (default: a csv named after the options)")
    generate.add_argument(
        "--to", choices=("mahimahi", "csv", "cooked"), help="format, if the suffix does not say"
    )
    generate.set_defaults(run=_generate)

    get = commands.add_parser("get", help="download public traces and videos; without NAME, list them")
    get.add_argument("name", nargs="?", metavar="NAME", help="an entry, or ENTRY/FILE")
    get.add_argument("--cache", help="folder to keep downloads in (default: the user's cache)")
    get.add_argument("--registry", help="another registry file")
    get.set_defaults(run=_get)
    return parser


def _add_source(parser: argparse.ArgumentParser) -> None:
    from traces.bandwidth.loading import DIRECTIONS, FORMATS

    parser.add_argument("file", help="trace file")
    parser.add_argument("--format", choices=sorted(FORMATS), help="its format (default: look at the content)")
    parser.add_argument("--direction", choices=DIRECTIONS, default="uplink", help="where a file has both")
    parser.add_argument("--column", help="rate column of a table that has several")
    parser.add_argument("--time-column", help="time column of a table, if its name does not say so")
    parser.add_argument("--time-unit", help="unit of the times, if the header does not say it: ms, s, ...")
    parser.add_argument(
        "--rate-unit", help="unit of the rates, if the header does not say it: kbps, mbps, ..."
    )
    parser.add_argument("--start-s", type=float, default=0.0, help="keep from here")
    parser.add_argument("--end-s", type=float, help="keep to here")
    parser.add_argument("--offset-s", type=float, default=0.0, help="enter the loop here")
    parser.add_argument("--loop-to-s", type=float, help="repeat or cut to this length")
    parser.add_argument("--mean-mbps", type=float, help="scale to this mean")


if __name__ == "__main__":
    sys.exit(main())
