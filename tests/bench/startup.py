"""How soon the demo's page answers, and how much memory the process holds when it idles.

`python -m tests.bench.startup` starts the demo five times and prints the best of each.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

ROUNDS = 5
PAGE_SECONDS, IDLE_MB = 3.0, 140.0


@dataclass(frozen=True)
class Start:
    """One start: seconds to the page and to the first digest, resident megabytes after it."""

    page: float
    digest: float
    resident: float


def measure() -> Start:
    """Start the demo in a process of its own, and end it."""
    begun = time.perf_counter()
    command = [sys.executable, "-m", "bot", "demo", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[1]
            with urlopen(url, timeout=10) as page:
                assert b"page.js" in page.read()
            answered = time.perf_counter() - begun
            wait_for_digest(url)
            posted = time.perf_counter() - begun
            return Start(answered, posted, resident(process.pid))
        finally:
            process.terminate()


def wait_for_digest(url: str) -> None:
    """Follow the page's events until the digest is there."""
    with urlopen(f"{url}page/events?user=U0ANN&after=0", timeout=30) as events:
        for line in events:
            if line.startswith(b"data:") and is_digest(json.loads(line[5:])):
                return
    raise AssertionError("the demo posted no digest")


def is_digest(event: dict[str, object]) -> bool:
    """Whether an event shows the first message of a digest."""
    return event["kind"] == "message" and "Certificates on" in json.dumps(event)


def resident(pid: int) -> float:
    """The resident memory of a process, in megabytes."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    kilobytes = next(int(line.split()[1]) for line in lines if line.startswith("Rss:"))
    return kilobytes / 1024


def main() -> int:
    """Print the figures; 1 where one of them misses its bar."""
    starts = [measure() for _ in range(ROUNDS)]
    page = min(start.page for start in starts)
    memory = min(start.resident for start in starts)
    print(f"page answers after   {page:.2f} s   (bar {PAGE_SECONDS:.0f} s)")
    print(f"first digest after   {min(start.digest for start in starts):.2f} s")
    print(f"idles with           {memory:.0f} MB  (bar {IDLE_MB:.0f} MB)")
    return int(page > PAGE_SECONDS or memory > IDLE_MB)


if __name__ == "__main__":
    sys.exit(main())
