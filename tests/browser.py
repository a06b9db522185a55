"""A headless Chromium, driven through a pipe by its DevTools protocol: no package is needed for it."""

import base64
import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

# Root has no sandbox to start in. The browser asks nothing of the network.
OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1400,1000"),
    *("--disable-background-networking", "--disable-component-update", "--no-first-run"),
)
COMMANDS, ANSWERS = 3, 4  # the file descriptors of --remote-debugging-pipe


def chromium() -> str | None:
    """The path of Debian's Chromium, or of one by another name; None where there is none."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Page:
    """One page. `errors` grows by what its console says of errors and by exceptions that nothing caught."""

    def __init__(self, commands: BinaryIO, answers: BinaryIO, downloads: Path) -> None:
        self.errors: list[str] = []
        self._commands, self._answers = commands, answers
        self._numbers, self._buffer, self._session = count(1), b"", {}
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = {"sessionId": self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads))

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """What the browser answers to a command; raises RuntimeError if it refuses."""
        number = next(self._numbers)
        command = {"id": number, "method": method, "params": parameters, **self._session}
        self._commands.write(json.dumps(command).encode() + b"\0")
        answer = self._until(lambda message: message.get("id") == number)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def open(self, path: Path) -> None:
        """Shows a file, and waits until it has loaded."""
        self.call("Page.navigate", url=path.absolute().as_uri())
        self._until(lambda message: message.get("method") == "Page.loadEventFired")

    def evaluate(self, script: str) -> Any:
        """The JSON value of an expression in the page; of a promise, what it comes to."""
        given = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in given:
            raise RuntimeError(f"{script}: {given['exceptionDetails']}")
        return given["result"].get("value")

    def seen(self) -> bytes:
        """What is seen, as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot")["data"])

    def _until(self, wanted: Any) -> dict[str, Any]:
        """The first message that is wanted; those before it are noted if they are errors."""
        while True:
            while b"\0" not in self._buffer:
                received = self._answers.read1(1 << 20)
                if not received:
                    raise RuntimeError("the browser ended")
                self._buffer += received
            line, self._buffer = self._buffer.split(b"\0", 1)
            message = json.loads(line)
            self._note(message)
            if wanted(message):
                return message

    def _note(self, message: dict[str, Any]) -> None:
        said = message.get("params", {})
        if message.get("method") == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(said["exceptionDetails"])[:2000])
        elif message.get("method") == "Runtime.consoleAPICalled" and said["type"] in ("error", "assert"):
            self.errors.append(json.dumps(said["args"])[:2000])
        elif message.get("method") == "Log.entryAdded" and said["entry"]["level"] == "error":
            self.errors.append(json.dumps(said["entry"])[:2000])


@contextmanager
def page(folder: Path) -> Iterator[Page]:
    """A page of a browser of its own, whose files lie in the folder, and what it downloads in downloads/."""
    (browser_reads, commands), (answers, browser_writes) = os.pipe(), os.pipe()
    # Copies above 9, so that the shell does not overwrite one with the other.
    given = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (browser_reads, browser_writes)]
    start = [chromium() or "chromium", *OPTIONS, f"--user-data-dir={folder}", "--remote-debugging-pipe"]
    shell = ["bash", "-c", f'exec "$@" {COMMANDS}<&{given[0]} {ANSWERS}>&{given[1]}', "bash"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([*shell, *start], pass_fds=given, **quiet) as running:
        for end in (*given, browser_reads, browser_writes):
            os.close(end)
        with os.fdopen(commands, "wb", buffering=0) as writer, os.fdopen(answers, "rb") as reader:
            try:
                yield Page(writer, reader, folder / "downloads")
            finally:
                running.terminate()
