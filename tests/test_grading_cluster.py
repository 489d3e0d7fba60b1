"""`autograder grade --scheduler`: a class on the workers of a dask cluster, one of which is killed in the middle."""

import os
import signal
import threading
import time

import pytest
from conftest import WHOLE
from grading_chapter import RIGHT, TOPIC, WRONG, Course, answered
from test_grading_fleet import CLASS, exported, graded

from autograder.grading.execute import Plan
from autograder.grading.fleet import cluster
from autograder.grading.runner import Limits
from autograder.grading.states import GRADED, INFRASTRUCTURE_ERROR, STUDENT_ERROR

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
WORKERS = 3 if WHOLE else 2


@pytest.fixture(scope="module")
def course(tmp_path_factory) -> Course:
    return Course.make(tmp_path_factory.mktemp("cluster") / "course")


@pytest.fixture(scope="module")
def machines(course):
    """A scheduler and its workers, processes of this machine that know the course's code and nothing of the class."""
    import dask
    from distributed import LocalCluster

    quick = {"distributed.worker.memory.terminate": False, "distributed.scheduler.allowed-failures": 2}
    with (
        dask.config.set(quick),
        LocalCluster(
            n_workers=WORKERS,
            threads_per_worker=1,
            resources={cluster.RESOURCE: 1},
            dashboard_address=None,
            env=course.environment(),
        ) as found,
    ):
        yield found


def grade(course: Course, address: str, rc: int = 0) -> str:
    return course.python("-m", "autograder.cli", "grade", TOPIC, f"--scheduler={address}", "--workers=2", rc=rc)


def test_a_class_on_a_cluster_gets_the_same_grades_though_a_machine_dies(course, machines, tmp_path):
    for i in range(4 if WHOLE else 2):
        for student, answers in CLASS.items():
            course.hand_in(f"{student}{i}", answered(course.release, **answers))
    course.hand_in("fool", b"this is no notebook")
    undisturbed = course.copy(tmp_path / "undisturbed")
    undisturbed.python("-m", "autograder.cli", "grade", TOPIC)
    killed = []

    def kill_one() -> None:
        while not list((course.root / "classroom" / "autograded").glob(f"*/{TOPIC}/{TOPIC}.ipynb")):
            time.sleep(0.05)
        killed.append(machines.workers[0].pid)
        os.kill(killed[0], signal.SIGKILL)

    thread = threading.Thread(target=kill_one)
    thread.start()
    said = grade(course, machines.scheduler_address)
    thread.join()
    assert killed and f"{4 * 5 + 1 if WHOLE else 11} of" in said
    assert graded(course) == graded(undisturbed)
    states = {student: row["state"] for student, row in exported(course).items()}
    assert set(states.values()) == {GRADED, STUDENT_ERROR, "submission error"}
    assert all(states[student] == STUDENT_ERROR for student in states if student.startswith("dora"))


def test_a_submission_that_kills_every_machine_is_reported_and_not_tried_for_ever(course, machines):
    killer = RIGHT | {"shout": "# a deadly one\n" + RIGHT["shout"]}
    for student, answers in {"anna": RIGHT, "killer": killer, "zoe": WRONG}.items():
        course.hand_in(student, answered(course.release, **answers))
    config = course.root / "nbgrader_config.py"
    whole = config.read_text()
    config.write_text(whole + DEADLY)
    said = grade(course, machines.scheduler_address, rc=1)
    config.write_text(whole)
    rows = exported(course)
    assert rows["killer"]["state"] == INFRASTRUCTURE_ERROR and rows["killer"]["score"] == "", said
    assert rows["anna"]["score"] == "7.0" and rows["zoe"]["state"] == GRADED


# What is run on a worker is this instead: of one submission its machine dies each time.
DEADLY = """
from autograder.grading.fleet import cluster

def deadly(notebook, plan):
    import os
    from autograder.grading.fleet.elsewhere import run

    if "# a deadly one" in notebook:
        os._exit(9)
    return run(notebook, plan)

cluster.run = deadly
"""


def test_without_a_scheduler_nothing_is_graded_and_the_sentence_says_what_to_start(course):
    course.hand_in("late", answered(course.release, **RIGHT))
    (course.root / "unreachable.py").write_text(UNREACHABLE)
    said = course.python("unreachable.py", rc=1)
    assert "No dask scheduler answers at tcp://127.0.0.1:9" in said and "dask worker" in said


UNREACHABLE = f"""
import sys
from autograder.grading.fleet import cluster, grade

cluster.WAIT_SECONDS = 1.0
sys.exit(grade.main([{TOPIC!r}, "--scheduler=tcp://127.0.0.1:9"]))
"""


def test_how_a_notebook_is_run_is_data():
    plan = Plan({"check": (1, 2)}, Limits(cell_seconds=5), {"also": ("/a",), "memory_mb": 7})
    assert Plan.from_json(plan.as_json()) == plan
    assert Plan.from_json(Plan({}, Limits(), None).as_json()).sandbox is None
