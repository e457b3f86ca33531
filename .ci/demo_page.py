"""Start the installed demo, get its page and one of the page's files, and end it by SIGTERM.

Ends with a sentence and exit code 1 where any of that fails.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import bot

END_SECONDS = 5.0


def check() -> None:
    """Judge the demo of the `bot` that this interpreter has installed."""
    _need(Path(bot.__file__).is_relative_to(sys.prefix), f"not the wheel's: {bot.__file__}")
    command = [sys.executable, "-m", "bot", "demo", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as demo:  # noqa: S603 - ours
        try:
            _get_page(demo.stdout.readline() if demo.stdout else "")
            asked = time.monotonic()
            demo.terminate()
            code = demo.wait(END_SECONDS)
        finally:
            demo.kill()
    _say(f"The demo ended {time.monotonic() - asked:.1f} s after SIGTERM, exit code {code}.")
    _need(code == 0, "the exit code should be 0")


def _get_page(line: str) -> None:
    url = re.search(r"http://\S+/", line)
    if url is None:
        sys.exit(f"The demo named no address: {line!r}")
    script = re.search(r'src="/(page/[^"]+\.js)"', _get(url[0]))
    if script is None:
        sys.exit("The page names no script.")
    _need("import" in _get(url[0] + script[1]), "the page's script is not there")
    _say(f"{url[0]} serves its page and {script[1]}.")


def _get(url: str) -> str:
    with urlopen(url, timeout=10) as answer:  # noqa: S310 - the demo's own address
        return str(answer.read().decode())


def _need(holds: object, otherwise: str) -> None:
    if not holds:
        sys.exit(f"The demo from the wheel: {otherwise}.")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    check()
