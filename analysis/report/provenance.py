"""What every run was: its whole configuration, what of it all runs share, and where the run was made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from analysis.report.runs import ReportedRuns

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
#: Of the summary: what a run was and with which version it was made.
MADE = ("version", "git_sha", "config_sha256", "model", "network", "edge", "cloud", "trace", "video", "seed")
MADE += ("replicate", "warmup_s", "link_correlation_s", "simulated_s", "wall_s", "accuracy_ruler")
_ABSENT = object()


def provenance(runs: ReportedRuns) -> dict[str, Any]:
    """The configurations of all runs, as keys joined by dots.

    Returns `shared`, what all runs that have a configuration have in common, and `own`, for each run what
    else it has; None of a run that has left no configuration.
    """
    configs = [_config(Path(row["folder"])) for row in runs.rows]
    known = [config for config in configs if config is not None]
    if not known:
        return {"shared": {}, "own": [None] * len(configs)}
    shared = {
        key: value
        for key, value in known[0].items()
        if all(config.get(key, _ABSENT) == value for config in known[1:])
    }
    own = [
        None if config is None else {key: value for key, value in config.items() if key not in shared}
        for config in configs
    ]
    return {"shared": shared, "own": own}


def _config(folder: Path) -> dict[str, Any] | None:
    path = folder / ".hydra" / "config.yaml"
    if not path.is_file():
        return None
    found = _flat(yaml.load(path.read_text(encoding="utf-8"), _Loader))
    return dict(sorted(found.items()))


def _flat(content: Any, before: str = "") -> dict[str, Any]:
    """Nested keys joined by dots; lists as they are."""
    if not isinstance(content, Mapping) or not content:
        return {before: content if isinstance(content, (str, int, float, bool, list, type(None))) else "{}"}
    return {
        key: value
        for name, part in content.items()
        for key, value in _flat(part, f"{before}.{name}" if before else str(name)).items()
    }
