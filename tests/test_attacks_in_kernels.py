"""Every attack in `tests/attacks`, inside a sandboxed kernel, as root and as an ordinary user."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import attack_runner
import pytest
from attack_runner import MUST, Attack
from attack_table import Row, note
from conftest import why_no_sandbox

from autograder.grading.runner import MAX_OUTPUT
from autograder.grading.sandbox.policy import ROOT

pytestmark = pytest.mark.timeout(900)
needed = pytest.mark.skipif(bool(why_no_sandbox()), reason=f"THE SANDBOX IS NOT TESTED: {why_no_sandbox()}")
ATTACKS = attack_runner.attacks()
USERS = ["root", "an ordinary user"]
NOT_AS_ROOT = "THE SANDBOX IS NOT TESTED AS ROOT. Root can: sudo -E make test PYTEST_ARGS=tests/test_attacks_in_kernels.py"


@pytest.fixture(scope="module")
def running() -> Iterator[dict]:
    """User -> the process that tries all attacks as that user, begun at once: most of their time is waiting."""
    begun = {}
    for user in USERS if os.geteuid() == 0 else USERS[1:]:
        folder = Path(tempfile.mkdtemp(prefix="attacked-"))  # not pytest's: those are closed to others
        command = [sys.executable, str(ROOT / "tests" / "attack_runner.py"), str(folder / "course")]
        if user != "root" and os.geteuid() == 0:
            from ordinary_user import USER

            os.chown(folder, USER, USER)
            command = [sys.executable, str(ROOT / "tests" / "ordinary_user.py"), *command]
        # Nothing of this process's environment but how it computes: the folders it names are closed to others.
        environment = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "OMP_NUM_THREADS")}
        environment |= {"PYTHONPATH": str(ROOT), "HOME": str(folder), "TMPDIR": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
        said, told = (folder.with_name(f"{folder.name}-{name}").open("w+") for name in ("said", "told"))  # a pipe would fill
        begun[user] = subprocess.Popen(command, env=environment, stdout=said, stderr=told), said, told, folder
    yield begun
    for process, said, told, folder in begun.values():
        process.kill()
        process.wait()
        for file in (said, told):
            file.close()
            os.unlink(file.name)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module", params=USERS)
def outcome(request, running) -> dict:
    """What came of all attacks, by name."""
    if request.param not in running:
        pytest.skip(NOT_AS_ROOT)
    process, said, told, _ = running[request.param]
    code = process.wait(850)
    told.seek(0)
    assert code == 0, told.read()[-3000:]
    said.seek(0)
    came_of = json.loads(said.read())
    assert (came_of["user"] == 0) == (request.param == "root")
    came = {name: Came(attack, came_of["attacks"][name]) for name, attack in ATTACKS.items()}
    note(request.config, rows(came, request.param))
    return came


class Came:
    """What came of an attack, as the columns of the table ask for it."""

    def __init__(self, attack: Attack, seen: dict):
        self.attack, self.seen = attack, seen
        self.shown, self.alive, self.seeds = seen["shown"]

    @property
    def outside(self) -> list:
        """What it reached, changed or left running outside."""
        return [*re.findall("REACHED.*", self.shown), *self.seen["changed"], *self.seen["left"]]

    @property
    def harmed(self) -> list[str]:
        """What others had from it: the next student's kernel, a process that stood by, or too much for the grader to keep."""
        kept = self.seen["kept"] > 2 * MAX_OUTPUT
        found = {"next": self.seen["next"] != attack_runner.CLEAN, "bystander": not self.seen["bystander"], "kept": kept}
        return [name for name, is_so in found.items() if is_so]

    @property
    def is_silent(self) -> bool:
        """Whether it was stopped and nobody is told why."""
        return not re.search(MUST[self.attack.must], self.shown.strip())

    @property
    def cost(self) -> bool:
        """Whether cells behind it, which are right, went wrong."""
        allowed = self.attack.must == "harm itself alone"
        return not allowed and (self.alive, self.seeds) != ("alive\n", "True\n")


def rows(came: dict[str, Came], user: str) -> list[Row]:
    """The table of one user. Of points there are none in a kernel: what is lost are right cells behind an attack."""
    table = {attack.kind: Row(attack.kind, f"in a kernel, as {user}") for attack in ATTACKS.values()}
    for one in came.values():
        row = table[one.attack.kind]
        row.attacks += 1
        row.lost += one.cost
        row.outside += len(one.outside)
        row.harmed += len(one.harmed)
        row.silent += one.is_silent
    return [*table.values()]


@needed
@pytest.mark.slow
@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_ends_as_it_must(outcome, attack):
    came = outcome[attack]
    assert "WRONG" not in came.shown, "the attack itself went wrong"
    if not MUST[came.attack.must] and came.attack.must != "harm itself alone":
        assert not re.search(r"Error|Stopped|Interrupt", came.shown), "the attack itself went wrong"
    assert came.outside == []
    assert came.harmed == [], "nothing of it reaches the next student, or anybody else"
    assert not came.is_silent, "whoever grades is told why it was stopped"
    assert not came.cost, "the cells behind it run, and a check cell has its seeds"


@needed
@pytest.mark.slow
def test_the_table_of_attacks_in_kernels_is_all_noughts(outcome):
    table = rows(outcome, "")
    assert sum(row.attacks for row in table) == len(ATTACKS) >= 60
    assert all(row.is_clean() for row in table), table


@pytest.mark.parametrize("head", ["x = 1", '"""It.\n\nkind: x\nmust: be nice\n"""', '"""It.\n\nmust: be cut\n"""'])
def test_an_attack_that_does_not_say_what_must_happen_is_no_attack(head, tmp_path, monkeypatch):
    (tmp_path / "one.py").write_text(head)
    monkeypatch.setattr(attack_runner, "ATTACKS", tmp_path)
    with pytest.raises(ValueError, match="has to begin with"):
        attack_runner.attacks()
