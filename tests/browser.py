"""A headless Chromium, driven through the pipe of its DevTools protocol: no server, no port, no library."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions"),
    *("--mute-audio", "--remote-debugging-pipe"),
)
PATIENCE = 60.0  # seconds: the machine may be busy
CODES = {"ArrowLeft": 37, "ArrowRight": 39, "Escape": 27, "Enter": 13, "KeyF": 70, "KeyJ": 74, "Digit2": 50}
TYPED = {"Enter": "\r", "KeyF": "f", "KeyJ": "j", "Digit2": "2"}


def find_chromium() -> str | None:
    """Give the path of a browser of Chromium's family, if there is one."""
    return next((found for found in map(shutil.which, NAMES) if found), None)


class Browser:
    """One page of a headless browser.

    Parameters
    ----------
    program
        Path of the browser.
    home
        Folder for its profile; downloads go to ``home/downloads``.
    """

    def __init__(self, program: str, home: Path) -> None:
        self.downloads = home / "downloads"
        self.downloads.mkdir(parents=True)
        theirs_in, self._to = os.pipe()
        self._from, theirs_out = os.pipe()
        # The browser reads commands from descriptor 3 and writes answers to 4.
        line = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self._process = subprocess.Popen(
            ["bash", "-c", line, program, *FLAGS, f"--user-data-dir={home / 'profile'}", "--window-size=1200,850"],
            pass_fds=(theirs_in, theirs_out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._read, self._number, self._session = b"", 0, None
        self.events: list[dict[str, Any]] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network"):
            self.send(f"{domain}.enable")
        self.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(self.downloads))

    @property
    def requests(self) -> set[str]:
        """Give the schemes of all that pages have asked for, such as ``"file"``."""
        asked = (event["params"] for event in self.events if event.get("method") == "Network.requestWillBeSent")
        return {parameters["request"]["url"].partition(":")[0] for parameters in asked}

    @property
    def errors(self) -> list[dict[str, Any]]:
        """Give what went wrong in the scripts of pages."""
        return [event for event in self.events if event.get("method") == "Runtime.exceptionThrown"]

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)
        os.close(self._to)
        os.close(self._from)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Give a command, and its answer once it is there; events that come first are kept."""
        self._number += 1
        command = {"id": self._number, "method": method, "params": parameters}
        command |= {"sessionId": self._session} if self._session else {}
        os.write(self._to, json.dumps(command).encode() + b"\0")
        while (message := self._message()).get("id") != self._number:
            self.events.append(message)
        if "error" in message:
            raise RuntimeError(f"{method}: {message['error']}")
        return message["result"]

    def _message(self) -> dict[str, Any]:
        until = time.monotonic() + PATIENCE
        while b"\0" not in self._read:
            ready, _, _ = select.select([self._from], [], [], max(0.0, until - time.monotonic()))
            part = os.read(self._from, 1 << 20) if ready else b""
            if not part:
                raise RuntimeError(f"the browser says nothing (exit code {self._process.poll()})")
            self._read += part
        first, _, self._read = self._read.partition(b"\0")
        return json.loads(first)

    def open(self, address: str) -> None:
        """Go to an address, and wait until the page is loaded."""
        self._load("Page.navigate", url=address)

    def reload(self) -> None:
        """Load the page again."""
        self._load("Page.reload")

    def _load(self, method: str, **parameters: Any) -> None:
        """Give a command that loads a page, and wait until its scripts have run."""
        before = len(self.events)
        self.send(method, **parameters)
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events[before:]):
            self.events.append(self._message())

    def run(self, script: str) -> Any:
        """Evaluate JavaScript in the page, and give its value."""
        done = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in done:
            raise RuntimeError(f"{script}: {done['exceptionDetails']}")
        return done["result"].get("value")

    def wait_for(self, script: str) -> None:
        """Wait until JavaScript gives something true."""
        until = time.monotonic() + PATIENCE
        while not self.run(script):
            if time.monotonic() > until:
                raise RuntimeError(f"this never came true: {script}")
            time.sleep(0.02)

    def press(self, code: str, *, held: bool = False) -> None:
        """Press a key and let go of it; ``held``: as a key that was pressed before and repeats."""
        text = TYPED.get(code, "")
        key = {"code": code, "key": text.strip() or code, "windowsVirtualKeyCode": CODES[code]}
        self.send("Input.dispatchKeyEvent", type="keyDown", autoRepeat=held, text=text, **key)
        self.send("Input.dispatchKeyEvent", type="keyUp", **key)

    def click(self, selector: str) -> None:
        """Click in the middle of an element."""
        x, y = self.run(
            f"(() => {{ const box = document.querySelector({json.dumps(selector)}).getBoundingClientRect();"
            " return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def downloaded(self, pattern: str) -> Path:
        """Wait for a file among the downloads."""
        until = time.monotonic() + PATIENCE
        while not (found := [path for path in self.downloads.glob(pattern) if path.suffix != ".crdownload"]):
            if time.monotonic() > until:
                raise RuntimeError(f"nothing like {pattern} was downloaded")
            time.sleep(0.02)
        return found[0]

    def screenshot(self, path: Path, *, width: int = 1200, height: int = 850, dark: bool = False) -> None:
        """Write what can be seen as PNG."""
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.send("Emulation.setEmulatedMedia", features=scheme)
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))
