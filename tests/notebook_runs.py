"""Running the chapters as a reader would, and holding what they measured against what they claim. Used by test_cNN_notebook.py.

A run in full takes minutes. So what a chapter claims is asserted from its record (`make record`), and the chapter is run in
a small dose, in which every cell is executed and nothing is learned. Run in full, and asserted from the fresh numbers, are:
chapters without a valid record; one recorded chapter each time, which the commit chooses; and all with COURSE_WHOLE=1.
"""

import contextlib
import hashlib
import json
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import warm_python
from conftest import WHOLE

from autograder.judging.reference import ROOT
from autograder.workshop.record import recordable, run, valid_record
from course import device

MINUTES = 60
SMALL_DOSE = "0.02"


def run_and_assert(
    topic: str, claims: Callable[[dict], None], folder: Path, record_property, most_gib: float = 4.0
) -> dict:
    """Assert what a chapter claims of its numbers, and that it runs: see above. Returns what
    `autograder.workshop.record.run` does.
    """
    record = valid_record(topic)
    if record is not None:
        claims(record["values"])
        assert record["gib"] < most_gib
    whole = topic in in_full()
    with contextlib.nullcontext() if whole else warm_python.kernels():
        found = run(topic, folder, {} if whole else {"COURSE_DOSE": SMALL_DOSE})
    record_property("run", {name: found[name] for name in ("minutes", "processor_minutes", "gib", "values")})
    print(f"\n{topic}, {'in full' if whole else 'in a small dose'}: {found['minutes']:.1f} minutes, {found['gib']:.2f} GiB")
    if whole:
        print(json.dumps({name: value for name, value in found["values"].items() if len(str(value)) < 2000}, indent=1))
        claims(found["values"])
    if record is not None:
        assert found["values"].keys() == record["values"].keys()
        if whole and device.tier() == "cpu":  # as the record's
            assert list(differences(found["values"], record["values"])) == []
    assert found["gib"] < most_gib
    return found


def in_full() -> list[str]:
    """The chapters that this test run runs in full."""
    if WHOLE:
        return recordable()
    return [topic for topic in recordable() if valid_record(topic) is None or topic == drawn()]


@cache
def drawn() -> str | None:
    """The recorded chapter that is run in full this time. The commit chooses, so that all have their turn and a run can be
    repeated; without git, the first. None where no chapter has a valid record.
    """
    recorded = [topic for topic in recordable() if valid_record(topic)]
    commit = ""
    if (ROOT / ".git").exists():
        said = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
        commit = said.stdout.strip()
    place = int(hashlib.sha256(commit.encode()).hexdigest(), 16) if commit else 0
    return recorded[place % len(recorded)] if recorded else None


def differences(fresh, recorded, name: str = "values") -> Iterator[str]:
    """Where two sets of numbers are not of the same form: other names, lengths or kinds. The numbers themselves may differ,
    since machines round differently and training enlarges it.
    """
    if isinstance(fresh, dict) and isinstance(recorded, dict):
        if fresh.keys() != recorded.keys():
            yield f"{name}: {sorted(fresh)}, recorded {sorted(recorded)}"
        for key in fresh.keys() & recorded.keys():
            yield from differences(fresh[key], recorded[key], f"{name}.{key}")
    elif isinstance(fresh, list) and isinstance(recorded, list):
        if len(fresh) != len(recorded):
            yield f"{name}: {len(fresh)} long, recorded {len(recorded)}"
        for place, pair in enumerate(zip(fresh, recorded)):
            yield from differences(*pair, f"{name}[{place}]")
    elif _kind(fresh) != _kind(recorded):
        yield f"{name}: {fresh!r}, recorded {recorded!r}"


def _kind(value) -> type:
    return float if isinstance(value, int) and not isinstance(value, bool) else type(value)
