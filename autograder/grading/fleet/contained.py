"""In a container: run the notebooks that come in, a line each, and answer with what their cells gave.

    python -m autograder.grading.fleet.contained

Lines of JSON: {"notebook": ..., "plan": ...} comes, {"gave": ...} or {"error": ...} goes. The first line that goes says which
version of the course is here, and why no sandbox can be had, where it cannot.
"""

import hashlib
import json
import os
import sys
from collections.abc import Callable

from autograder.grading.fleet.elsewhere import run
from autograder.grading.sandbox import doctor
from autograder.grading.sandbox.policy import PUBLIC, ROOT

NOT_THERE = "workshop"  # the folder of the maintainers' tools, which an image need not hold


def version() -> str:
    """A digest of the code that runs here for a student's: that of the course's public part."""
    found = hashlib.sha256()
    for path in sorted(path for name in PUBLIC for path in (ROOT / name).rglob("*.py")):
        inside = path.relative_to(ROOT)
        if NOT_THERE not in inside.parts:
            found.update(f"{inside.as_posix()}\0".encode() + path.read_bytes().replace(b"\r\n", b"\n") + b"\0")
    return found.hexdigest()


def serve(lines, say: Callable[[dict], None]) -> None:
    """Until no line comes any more."""
    say({"version": version(), "no_sandbox": doctor.why_none()})
    for line in lines:
        try:
            say({"gave": run(**json.loads(line))})
        except Exception as error:
            say({"error": f"{type(error).__name__}: {error}"[:2000]})


def main() -> None:
    """From standard input to standard output, which is nobody else's from here on."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(answer: dict) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    serve(sys.stdin, say)


if __name__ == "__main__":
    main()
