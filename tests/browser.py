"""Headless Chromium over the DevTools protocol, through a pipe: no driver, no package, no port.

https://chromedevtools.github.io/devtools-protocol/: messages are JSON that ends in a zero byte; the
browser reads file descriptor 3 and writes 4 (--remote-debugging-pipe).
"""

import base64
import fcntl
import itertools
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
VARIABLE = "TFF_EXPERIMENTS_CHROMIUM"
# As root Chromium has no sandbox; the rest keeps it from asking the network for anything.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)


def find() -> str:
    """Chromium's path, from $TFF_EXPERIMENTS_CHROMIUM or $PATH; "" where there is none."""
    return os.environ.get(VARIABLE) or next(filter(None, map(shutil.which, NAMES)), "")


class Browser:
    """One headless Chromium with one page."""

    def __init__(self, path: str, *, seconds: float = 60):
        """Starts it; `seconds` is how long any answer may take."""
        self._seconds = seconds
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        # Above 4, so that one dup2 does not overwrite what the other reads.
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (theirs_in, theirs_out)]
        self._process = subprocess.Popen(
            [path, *FLAGS, f"--user-data-dir={self._profile.name}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=lambda: [os.dup2(fd, to) for fd, to in zip(high, (3, 4), strict=True)],
            pass_fds=(3, 4),
            start_new_session=True,
        )
        for fd in (theirs_in, theirs_out, *high):
            os.close(fd)
        self._numbers = itertools.count(1)
        self._buffer = b""
        self.events: list[dict] = []
        target = self._send("Target.createTarget", {"url": "about:blank"})["targetId"]
        attach = {"targetId": target, "flatten": True}
        self._session = self._send("Target.attachToTarget", attach)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters) -> dict:
        """Calls a method of the page's; returns its result, raises RuntimeError for an error."""
        return self._send(method, parameters, sessionId=self._session)

    def _send(self, method, parameters, **more):
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters, **more}
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") != number:
                self.events.append(answer)
            elif "error" in answer:
                raise RuntimeError(f"{method}: {answer['error']['message']}")
            else:
                return answer["result"]

    def _read(self):
        deadline = time.monotonic() + self._seconds
        while b"\0" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._in], [], [], left)[0]:
                raise TimeoutError(f"Chromium said nothing for {self._seconds} s.")
            part = os.read(self._in, 1 << 20)
            if not part:
                raise RuntimeError("Chromium has ended.")
            self._buffer += part
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)

    def evaluate(self, script: str):
        """The value of a JavaScript expression; a promise is awaited."""
        got = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in got:
            raise RuntimeError(got["exceptionDetails"]["exception"]["description"])
        return got["result"].get("value")

    def wait_for(self, script: str) -> None:
        """Waits until an expression is true."""
        deadline = time.monotonic() + self._seconds
        while not self.evaluate(f"Boolean({script})"):
            if time.monotonic() > deadline:
                raise TimeoutError(f"never true: {script}")
            time.sleep(0.05)

    def open(self, url: str, *, width: int = 1200, height: int = 900, dark: bool = False) -> None:
        """Opens a page in a window of a size in CSS pixels, and waits until it is loaded."""
        self.show(width=width, height=height, dark=dark)
        self.call("Page.navigate", url=url)
        self.wait_for("location.href !== 'about:blank' && document.readyState === 'complete'")

    def show(self, *, width: int, height: int, dark: bool) -> None:
        """Changes the window and the colour scheme."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def click(self, selector: str, *, times: int = 1) -> None:
        """Clicks the middle of the first element that a CSS selector finds, as a mouse does."""
        find = f"document.querySelector({json.dumps(selector)})"
        self.evaluate(f"{find}.scrollIntoView({{block: 'center'}})")
        box = self.evaluate(f"{find}.getBoundingClientRect().toJSON()")
        point = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        self.call("Input.dispatchMouseEvent", type="mouseMoved", **point)
        for count in range(1, times + 1):
            press = {"button": "left", "clickCount": count, **point}
            self.call("Input.dispatchMouseEvent", type="mousePressed", **press)
            self.call("Input.dispatchMouseEvent", type="mouseReleased", **press)

    def errors(self) -> list[str]:
        """What the console has of errors, warnings and uncaught exceptions."""
        self.evaluate("0")  # Events that came before this answer are read with it.
        found = []
        for event in self.events:
            method, told = event.get("method"), event.get("params", {})
            if method == "Runtime.exceptionThrown":
                found.append(str(told["exceptionDetails"]))
            elif method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
                found.append(told["entry"]["text"])
            elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning"):
                found.append(str([arg.get("value") for arg in told["args"]]))
        return found

    def requests(self) -> list[str]:
        """All addresses that the page asked for."""
        sent = [e for e in self.events if e.get("method") == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in sent]

    def screenshot(self, *, whole: bool = True) -> bytes:
        """A PNG of the page."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        return base64.b64decode(shot["data"])

    def close(self) -> None:
        """Ends it, and waits until it is gone."""
        try:
            self._send("Browser.close", {})
        except (RuntimeError, OSError):
            self._process.kill()
        self._process.wait(self._seconds)
        os.close(self._in)
        os.close(self._out)
        self._profile.cleanup()
