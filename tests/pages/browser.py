"""A browser without a window, spoken to through a pipe: the DevTools protocol, without any package."""

import json
import os
import select
import subprocess
import tempfile
import time
from pathlib import Path

# Nothing that would talk to anybody: what a page asks of the network must be the page's own doing.
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
]
ANSWER_SECONDS = 60


class Browser:
    def __init__(self, program):
        self.profile = tempfile.TemporaryDirectory(prefix="graven-pages-")
        requests_read, self.requests = os.pipe()
        self.answers, answers_write = os.pipe()

        def wire():
            # The protocol's pipe is on descriptors 3 and 4; first out of the way of each other.
            one, two = os.dup(requests_read), os.dup(answers_write)
            high_one, high_two = os.dup2(one, 100), os.dup2(two, 101)
            os.dup2(high_one, 3)
            os.dup2(high_two, 4)

        self.process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={self.profile.name}", "about:blank"],
            preexec_fn=wire,
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(requests_read)
        os.close(answers_write)
        self.buffer = b""
        self.number = 0
        self.session = None
        self.events = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.call("Browser.close", session=False)
            self.process.wait(timeout=ANSWER_SECONDS)
        except (OSError, RuntimeError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        os.close(self.requests)
        os.close(self.answers)
        self.profile.cleanup()

    def call(self, method, session=True, **params):
        """Asks and waits for the answer; what happens meanwhile is kept in `events`."""
        self.number += 1
        request = {"id": self.number, "method": method, "params": params}
        if session and self.session:
            request["sessionId"] = self.session
        os.write(self.requests, json.dumps(request).encode() + b"\0")
        while True:
            message = self.receive()
            if message.get("id") == self.number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]
            self.events.append(message)

    def receive(self):
        until = time.monotonic() + ANSWER_SECONDS
        while b"\0" not in self.buffer:
            if not select.select([self.answers], [], [], max(0, until - time.monotonic()))[0]:
                raise RuntimeError(f"the browser has said nothing for {ANSWER_SECONDS} s")
            part = os.read(self.answers, 1 << 20)
            if not part:
                raise RuntimeError("the browser has ended")
            self.buffer += part
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def wait_for(self, method):
        while True:
            for number, event in enumerate(self.events):
                if event.get("method") == method:
                    return self.events.pop(number)
            self.events.append(self.receive())

    def open(self, page, width, scheme):
        """A tab of its own with the page in it; returns what it asked of the network and complained of."""
        target = self.call("Target.createTarget", session=False, url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", session=False, targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ["Page", "Runtime", "Log", "Network"]:
            self.call(f"{domain}.enable")
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=844, deviceScaleFactor=1, mobile=width < 600
        )
        self.call(
            "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
        )
        self.events.clear()
        self.call("Page.navigate", url=Path(page).resolve().as_uri())
        self.wait_for("Page.loadEventFired")
        # Two frames later everything is laid out and every request of the first layout is on its way.
        self.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")
        return target, self.heard(page)

    def heard(self, page):
        own = Path(page).resolve().as_uri()
        found = []
        for event in self.events:
            params = event.get("params", {})
            match event.get("method"):
                case "Network.requestWillBeSent":
                    url = params["request"]["url"]
                    if url != own and not url.startswith("data:"):
                        found.append(f"asks the network for {url}")
                case "Runtime.exceptionThrown":
                    found.append(f"throws {params['exceptionDetails']['text']}")
                case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning"):
                    found.append(f"console: {params['args']}")
                case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
                    found.append(f"log: {params['entry']['text']}")
        return found

    def evaluate(self, expression):
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def close(self, target):
        self.session = None
        self.call("Target.closeTarget", session=False, targetId=target)
