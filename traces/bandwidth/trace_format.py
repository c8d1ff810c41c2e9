"""What a file format of bandwidth traces has to offer, whoever wrote it.

A format is a class and a YAML. The class has a nested frozen dataclass `Options`, whose fields are the
YAML's keys, and is made as `Class(options)`; it need not derive from anything. The YAML
`trace/format/<name>.yaml`, in `conf/` or in any `--config-dir`, names the class (`_target_:
package.module.Class`) and sets its options. `traces/README.md` has an example. Options named `time_column`,
`time_unit` or `rate_unit` are also what `trace.time_column` and the like of a run replace.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

from traces.bandwidth.trace import BandwidthTrace


@runtime_checkable
class TraceFormat(Protocol):
    """A file format: how to recognise it, what it expects, how to read it.

    name: what commands and messages call it.
    expects: what the file holds, with units; messages put it after "expected".
    """

    name: str
    expects: str

    def matches(self, sample_lines: list[str]) -> bool:
        """Whether a file that starts with these lines is one of this format.

        sample_lines: up to 40 lines, stripped, without blanks and `#` comments; at least one. Of a binary
            file: the printable characters that it starts with, as one line, and of a parquet file the names
            of its columns, between tabs, as a second. A packed file (gzip, bzip2, xz) is unpacked first.
        """

    def read(self, path: Path, direction: str, column: str | None) -> BandwidthTrace:
        """Read a file.

        direction: "uplink" or "downlink"; a format whose files hold one direction ignores it.
        column: the name of a rate column; a format without named columns ignores it.

        Raises:
            InputError: the file is not of this format, or a value in it cannot be used.
        """
