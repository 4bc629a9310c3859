"""A process that decodes image files for `image_pool`, so that a damaged file can end only this process.

Each request is a line of JSON and the bytes of a file on standard input; each answer a line of JSON and, for pixels,
their bytes on standard output.
"""

from __future__ import annotations

import json
import signal
import sys
from typing import Any, BinaryIO

from benchmarks.datasets import images

MOST_MEMORY = 4 << 30  # bytes of address space: a decoder that allocates more has met a hostile file
MOST_SECONDS = 120  # for one file


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer one request after the other until the parent closes its side."""
    for line in iter(requests.readline, b""):
        request = json.loads(line)
        content = requests.read(request["bytes"])
        signal.alarm(MOST_SECONDS)  # the default action ends the process
        answer, pixels = _answer(request, content)
        signal.alarm(0)
        answers.write(json.dumps(answer).encode() + b"\n" + pixels)
        answers.flush()


def _answer(request: dict[str, Any], content: bytes) -> tuple[dict[str, Any], bytes]:
    try:
        if request["task"] == "examine":
            header = images.examine(content)
            return {"height": header.height, "width": header.width, "gray": header.gray}, b""
        size = tuple(request["size"]) if request["size"] else None
        pixels = images.decode(content, request["channels"], size, request["fit"])  # type: ignore[arg-type]
        return {"shape": pixels.shape}, pixels.tobytes()
    except ValueError as error:
        return {"error": str(error)}, b""


def _limit_memory() -> None:
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, most))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle, which then closes this side
    if sys.platform == "linux":
        _limit_memory()
    serve(sys.stdin.buffer, sys.stdout.buffer)
