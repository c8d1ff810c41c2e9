"""The page itself: one file with everything in it, which asks no network for anything.

It is assembled of what lies in `assets/` (a template, a style, one script a noun) and of a charting library
in `vendor/`. A content security policy in its head forbids every connection, so that a mistake would show.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from analysis.report.packing import deflated

_LIBRARY = "echarts-6.1.0"
_LICENCES = (
    *(f"{_LIBRARY}.{part}" for part in ("NOTICE", "LICENSE", "LICENSE-d3")),
    "zrender-6.1.0.LICENSE",
)
#: In the order in which they are run: each needs those before it.
SCRIPTS = (
    *("data", "format", "theme", "table", "charts", "overview", "comparison", "frontier", "systems"),
    *("anatomy", "inspector", "runs", "downloads", "main"),
)


def page(content: Mapping[str, Any], packed: Mapping[str, Mapping[str, Any]]) -> str:
    """The page as HTML.

    Args:
        content: what is read at once (:func:`analysis.report.content.report_content`).
        packed: what is unpacked when it is asked for, by name; each with its `data` in base64.
    """
    assets = files("analysis.report") / "assets"
    vendor = files("analysis.report") / "vendor"
    scripts = "\n".join(
        f"<script>\n{(assets / f'{name}.js').read_text(encoding='utf-8')}</script>" for name in SCRIPTS
    )
    blocks = [_data("content", deflated(_json(content).encode("utf-8")))]
    blocks += [_data(name, _json(block)) for name, block in packed.items()]
    licence = "\n\n".join((vendor / name).read_text(encoding="utf-8") for name in _LICENCES)
    filled = {
        "STYLE": (assets / "page.css").read_text(encoding="utf-8"),
        "LIBRARY": (vendor / f"{_LIBRARY}.min.js").read_text(encoding="utf-8"),
        "LICENCE": licence.replace("&", "&amp;").replace("<", "&lt;"),
        "DATA": "\n".join(blocks),
        "SCRIPTS": scripts,
    }
    before, *rest = (assets / "page.html").read_text(encoding="utf-8").split("<!--@")
    pieces = [before]
    for part in rest:
        name, _, after = part.partition("@-->")
        pieces += [filled[name], after]
    return "".join(pieces)


def _data(name: str, text: str) -> str:
    return f'<script type="text/plain" id="{name}">{text}</script>'


def _json(value: Any) -> str:
    """Compact; "<" is escaped, since nothing in it may end the element that it stands in."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")
