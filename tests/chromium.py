"""A headless Chromium that waits: pages that draw through a websocket are not done when loaded."""

import asyncio
import base64
import contextlib
import itertools
import json
import shutil
import subprocess
import time
from pathlib import Path

import aiohttp

PROGRAM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu-sandbox", "--use-gl=angle",
    "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--hide-scrollbars",
    "--remote-debugging-port=0", "--no-first-run", "--disable-background-networking",
)  # fmt: skip


class Page:
    """An open page, by the protocol of Chromium's developer tools."""

    def __init__(self, socket):
        self._socket, self._numbers = socket, itertools.count(1)
        self.requested, self.complaints = [], []

    async def call(self, method, **parameters):
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            message = json.loads((await self._socket.receive(timeout=60)).data)
            if message.get("method") == "Network.requestWillBeSent":
                self.requested.append(message["params"]["request"]["url"])
            if message.get("method") == "Runtime.exceptionThrown":
                self.complaints.append(message["params"]["exceptionDetails"])
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]

    async def value(self, script):
        found = await self.call("Runtime.evaluate", expression=script, returnByValue=True,
                                awaitPromise=True)  # fmt: skip
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def until(self, script, seconds=60):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(AssertionError):
                if await self.value(script):
                    return
            await asyncio.sleep(0.25)
        raise AssertionError(f"never true in {seconds} s: {script}")

    async def picture(self, path):
        found = await self.call("Page.captureScreenshot", format="png")
        Path(path).write_bytes(base64.b64decode(found["data"]))

    async def drag(self, start, end, steps=6):
        mouse = {"button": "left", "buttons": 1, "clickCount": 1}
        await self.call(
            "Input.dispatchMouseEvent", type="mousePressed", x=start[0], y=start[1], **mouse
        )
        for k in range(1, steps + 1):
            x, y = (a + k / steps * (b - a) for a, b in zip(start, end, strict=True))
            await self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y, **mouse)
        await self.call(
            "Input.dispatchMouseEvent", type="mouseReleased", x=end[0], y=end[1], **mouse
        )


@contextlib.asynccontextmanager
async def opened(address, folder, size=(1400, 850)):
    """Chromium with a page open at an address."""
    command = [PROGRAM, *OPTIONS, f"--window-size={size[0]},{size[1]}",
               f"--user-data-dir={folder}", "about:blank"]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        told = Path(folder) / "DevToolsActivePort"
        for _ in range(240):
            if told.is_file() and "\n" in told.read_text():
                break
            await asyncio.sleep(0.25)
        port = told.read_text().split()[0]
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json") as answer:
                pages = [p for p in await answer.json() if p["type"] == "page"]
            async with session.ws_connect(
                pages[0]["webSocketDebuggerUrl"], max_msg_size=0
            ) as socket:
                page = Page(socket)
                for domain in ("Page", "Runtime", "Network"):
                    await page.call(f"{domain}.enable")
                await page.call("Emulation.setDeviceMetricsOverride", width=size[0], height=size[1],
                                deviceScaleFactor=1, mobile=False)  # fmt: skip
                await page.call("Page.navigate", url=str(address))
                yield page
    finally:
        process.terminate()
        process.wait(20)
