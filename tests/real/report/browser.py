"""A headless Chromium, driven over a pair of pipes by its DevTools protocol: no driver, no port."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

CANDIDATES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_browser() -> str | None:
    """The browser to use: FLUXSHARD_BROWSER, else the first that is installed."""
    return os.environ.get("FLUXSHARD_BROWSER") or next(filter(None, map(shutil.which, CANDIDATES)), None)


_KEYS = {"Tab": 9, "Enter": 13, "End": 35, "Home": 36, "ArrowLeft": 37, "ArrowRight": 39}


class Browser:
    """One page of a headless Chromium.

    Args:
        executable: of the browser.
        width_px, height_px: of its window.
        dark: whether the reader prefers dark pages.

    `complaints` are exceptions, and errors and warnings of the console; `requests` what the page asked for.
    """

    def __init__(
        self, executable: str, width_px: int = 1280, height_px: int = 900, dark: bool = False
    ) -> None:
        self._home = tempfile.TemporaryDirectory(prefix="browser", ignore_cleanup_errors=True)
        here_reads, it_writes = os.pipe()
        it_reads, here_writes = os.pipe()

        def place_pipes() -> None:
            # Chromium reads commands from 3 and writes answers to 4; first out of the way of each other.
            reads, writes = os.dup(it_reads), os.dup(it_writes)
            os.dup2(reads, 3)
            os.dup2(writes, 4)

        self._process = subprocess.Popen(
            [
                executable,
                *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
                *("--disable-background-networking", "--disable-extensions", "--disable-dev-shm-usage"),
                *("--remote-debugging-pipe", f"--user-data-dir={self._home.name}", "about:blank"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=place_pipes,
            close_fds=False,
        )
        os.close(it_reads)
        os.close(it_writes)
        self._reads, self._writes, self._rest, self._number = here_reads, here_writes, b"", 0
        self.complaints: list[str] = []
        self.requests: list[str] = []
        target = next(one for one in self._call("Target.getTargets")["targetInfos"] if one["type"] == "page")
        found = self._call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session: str | None = found["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")
        self.resize(width_px, height_px)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self._call("Emulation.setEmulatedMedia", features=scheme)

    _session: str | None = None

    def close(self) -> None:
        """End the browser, and forget what it has kept."""
        self._process.terminate()
        self._process.wait(timeout=20)
        os.close(self._reads)
        os.close(self._writes)
        self._home.cleanup()

    def resize(self, width_px: int, height_px: int) -> None:
        """Give the page another window; a narrow one is a phone's."""
        phone = width_px < 600
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width_px,
            height=height_px,
            deviceScaleFactor=1,
            mobile=phone,
        )

    def open(self, page: Path, route: str = "") -> None:
        """Open a page and wait until one of its sections is drawn."""
        self._call("Page.navigate", url=page.resolve().as_uri() + route)
        self.wait_for("document.documentElement?.dataset.section !== undefined")

    def go(self, route: str) -> None:
        """Follow a link to one of its sections."""
        self.evaluate(f"location.hash = {json.dumps('#/' + route)}")
        self.wait_for(f"document.documentElement.dataset.section === {json.dumps(route)}")

    def evaluate(self, script: str) -> Any:
        """The value of an expression in the page; an exception there is one here."""
        found = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise AssertionError(f"{script}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def wait_for(self, condition: str, timeout_s: float = 20.0) -> None:
        """Wait until an expression holds in the page."""
        end_s = time.monotonic() + timeout_s
        while not self.evaluate(condition):
            if time.monotonic() > end_s:
                raise TimeoutError(f"the page never came to {condition}; it complained of {self.complaints}")
            time.sleep(0.02)

    def press(self, key: str) -> None:
        """Press and release a key by its name: "ArrowRight", "Tab"."""
        common: dict[str, Any] = {"key": key, "code": key, "windowsVirtualKeyCode": _KEYS[key]}
        if key == "Enter":
            common["text"] = "\r"
        self._call("Input.dispatchKeyEvent", type="keyDown", **common)
        self._call("Input.dispatchKeyEvent", type="keyUp", **common)

    def screenshot(self, path: Path, whole: bool = False) -> None:
        """A picture of the window, or of the whole page."""
        more = {}
        if whole:
            size = self._call("Page.getLayoutMetrics")["cssContentSize"]
            more = {"captureBeyondViewport": True, "clip": {**size, "scale": 1}}
        path.write_bytes(base64.b64decode(self._call("Page.captureScreenshot", format="png", **more)["data"]))

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._writes, json.dumps(message).encode() + b"\0")
        while True:
            found = self._next(method)
            if found.get("id") == self._number:
                if "error" in found:
                    raise RuntimeError(f"{method}: {found['error']['message']}")
                result: dict[str, Any] = found["result"]
                return result
            self._note(found)

    def _next(self, method: str, timeout_s: float = 60.0) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._reads], [], [], timeout_s)
            read = os.read(self._reads, 1 << 16) if ready else b""
            if not read:
                raise TimeoutError(
                    f"{method}: the browser does not answer (exit code {self._process.poll()})"
                )
            self._rest += read
        text, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(text)
        return found

    def _note(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description", details["text"]))
        elif event.get("method") == "Runtime.consoleAPICalled" and params["type"] in (
            "error",
            "warning",
            "assert",
        ):
            self.complaints.append(
                " ".join(str(one.get("value", one.get("description"))) for one in params["args"])
            )
        elif event.get("method") == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(params["entry"]["text"])
        elif event.get("method") == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
