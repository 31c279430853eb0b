"""Pages in headless Chromium: what a page is like once it is shown, at some width, as a script that runs in it finds.

Where there is no Chromium, tests that need it are skipped; under CI they fail.
"""

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_LIMIT_S = 60

_COLLECT = """
const faults = [];
addEventListener("error", (event) => faults.push(`error: ${event.message}`));
addEventListener("unhandledrejection", (event) => faults.push(`rejected: ${event.reason}`));
addEventListener("securitypolicyviolation", (event) => faults.push(`refused: ${event.blockedURI}`));
"""

_MEASURE = """
addEventListener("load", () => setTimeout(() => {
  const found = { faults, requests: performance.getEntriesByType("resource").map((one) => one.name) };
  try { Object.assign(found, measure()); } catch (error) { faults.push(`measuring: ${error.stack}`); }
  const place = parent.document.getElementById("found");
  place.textContent = JSON.stringify(found);
}, 50));
"""


def find_chromium() -> str:
    """Return the program; skip the test where there is none, and fail under CI."""
    for name in _NAMES:
        if program := shutil.which(name):
            return program
    say = pytest.fail if os.environ.get("CI") else pytest.skip
    say("no Chromium is installed; on Debian: apt-get install chromium")
    raise AssertionError("not reached")


def look_at(page: str, script: str, folder: Path, *, width: int) -> dict:
    """Show a page in a frame of a width in pixels, and return what the function `measure` of a script says of it.

    Beside that: `faults` (errors of scripts, what the page's policy refused) and `requests`. Nothing can be reached.
    """
    page = page.replace("<head>", f"<head><script>{_COLLECT}</script>", 1)
    page = page.replace("</body>", f"<script>{script}{_MEASURE}</script></body>", 1)
    frame = f'<iframe width="{width}" height="900" style="border: 0" srcdoc="{html.escape(page)}"></iframe>'
    file = folder / "frame.html"
    file.write_text(f'<!doctype html><meta charset="utf-8"><pre id="found"></pre>{frame}', encoding="utf-8")
    command = [
        find_chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage",
        "--no-first-run", "--no-default-browser-check", "--disable-extensions", "--disable-background-networking",
        "--disable-component-update", "--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr",
        f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=3000", "--dump-dom", file.as_uri(),
    ]  # fmt: skip
    ran = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_S, check=True)
    seen = re.search(r'<pre id="found">(.+?)</pre>', ran.stdout, re.DOTALL)
    assert seen is not None, f"the page did not load: {ran.stderr[-2000:]}"
    found = json.loads(html.unescape(seen[1]))
    found["faults"] += [line for line in ran.stderr.splitlines() if "CONSOLE" in line]
    return found
