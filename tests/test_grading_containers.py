"""`autograder grade --image`: a class in containers. The engine is a stand-in: it starts a process where a container would be."""

import json
import sys
from pathlib import Path

import nbformat
import pytest
from grading_chapter import RIGHT, TOPIC, Course, answered
from test_grading_fleet import CLASS, exported, graded, hand_in_all

from autograder.grading.fleet import containers
from autograder.grading.fleet.contained import version
from autograder.grading.fleet.elsewhere import GaveNonsense, with_outputs
from autograder.grading.states import GRADED, INFRASTRUCTURE_ERROR, STUDENT_ERROR, SUBMISSION_ERROR

pytestmark = pytest.mark.slow

ENGINE = """\
#!{python}
import json, os, sys

here = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(here, "started.jsonl"), "a") as log:
    log.write(json.dumps(sys.argv[1:]) + "\\n")
if sys.argv[1] == "run":
    if "another-version" in sys.argv:
        print(json.dumps({{"version": "of yesterday", "no_sandbox": ""}}), flush=True)
    elif "no-sandbox-inside" in sys.argv:
        from autograder.grading.fleet.contained import version
        print(json.dumps({{"version": version(), "no_sandbox": "It was not to be."}}), flush=True)
    elif "course" in sys.argv:
        from autograder.grading.fleet import contained
        run = contained.run

        def deadly(notebook, plan):
            if "# a deadly one" in notebook:
                os._exit(137)
            return run(notebook, plan)

        contained.run = deadly
        contained.main()
    else:
        sys.exit(f"Error: {{sys.argv[-4]}}: image not known")
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Course:
    return Course.make(tmp_path_factory.mktemp("containers") / "course")


@pytest.fixture
def course(made, tmp_path) -> Course:
    return made.copy(tmp_path / "course")


@pytest.fixture
def engine(tmp_path) -> Path:
    path = tmp_path / "engine" / "podman"
    path.parent.mkdir()
    path.write_text(ENGINE.format(python=sys.executable))
    path.chmod(0o755)
    return path


def grade(course: Course, engine: Path, *arguments: str, image: str = "course", rc: int = 0) -> str:
    options = (f"--image={image}", f"--engine={engine}", "--workers=2", *arguments)
    return course.python("-m", "autograder.cli", "grade", TOPIC, *options, rc=rc)


def asked_of(engine: Path, command: str) -> list[list[str]]:
    return [a for a in map(json.loads, (engine.parent / "started.jsonl").read_text().splitlines()) if a[0] == command]


def test_a_class_in_containers_gets_the_same_grades_and_every_container_ends(course, engine, tmp_path):
    hand_in_all(course)
    undisturbed = course.copy(tmp_path / "undisturbed")
    undisturbed.python("-m", "autograder.cli", "grade", TOPIC)
    grade(course, engine)
    assert graded(course) == graded(undisturbed)
    states = {student: row["state"] for student, row in exported(course).items()}
    assert states == dict.fromkeys(CLASS, GRADED) | {"dora": STUDENT_ERROR, "fool": SUBMISSION_ERROR}
    started, ended = asked_of(engine, "run"), asked_of(engine, "rm")
    assert 1 <= len(started) <= 2, "one after the other in the same container"
    assert {a[1].removeprefix("--name=") for a in started} == {a[-1] for a in ended}
    for wall in ("--network=none", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--user=65534:65534"):
        assert all(wall in asked for asked in started)
    assert all(any(a.startswith(f"--{limit}=") for a in started[0]) for limit in ("memory", "pids-limit", "tmpfs"))
    assert not any(a.startswith(("--volume", "-v", "--mount", "--privileged")) for a in started[0])


def test_without_a_sandbox_each_submission_has_a_container_of_its_own_and_the_engines_own_walls_stand(course, engine):
    for student in ("anna", "zoe"):
        course.hand_in(student, answered(course.release, **RIGHT))
    grade(course, engine, "--no-sandbox")
    assert {row["score"] for row in exported(course).values()} == {"7.0"}
    started = asked_of(engine, "run")
    assert len(started) == 2 and not any("unconfined" in a or "unmask" in a for a in started[0])


def test_a_submission_that_kills_its_containers_is_reported_and_costs_nobody_else(course, engine):
    killer = RIGHT | {"shout": "# a deadly one\n" + RIGHT["shout"]}
    for student, answers in {"anna": RIGHT, "killer": killer, "zoe": RIGHT}.items():
        course.hand_in(student, answered(course.release, **answers))
    said = grade(course, engine, rc=1)
    rows = exported(course)
    assert rows["killer"]["state"] == INFRASTRUCTURE_ERROR and rows["killer"]["score"] == ""
    assert rows["anna"]["score"] == rows["zoe"]["score"] == "7.0"
    assert "3 containers that ran it died, perhaps for want of memory" in said


@pytest.mark.parametrize(
    "image, says",
    [
        ("another-version", "holds another version of the course than this checkout. Build it again"),
        ("no-sandbox-inside", "no submission can have a sandbox of its own: It was not to be. With --no-sandbox"),
        ("nowhere", "No container of nowhere can be started"),
    ],
)
def test_what_an_image_cannot_give_is_said_before_anything_is_graded(course, engine, image, says):
    course.hand_in("anna", answered(course.release, **RIGHT))
    assert says in grade(course, engine, image=image, rc=1)
    assert not (course.root / "classroom" / "autograded" / "anna").exists()


def test_where_there_is_no_engine_the_sentence_names_those_that_would_do(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(containers.NbGraderException, match="neither podman nor docker"):
        containers._engine()


# --- What comes back


def a_pair() -> tuple[str, list]:
    cells = [nbformat.v4.new_markdown_cell("# A"), nbformat.v4.new_code_cell("1 + 1")]
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"course": {"grading_seeds": {"a": [1]}}})
    outputs = [nbformat.v4.new_output("stream", text="2")]
    return nbformat.writes(notebook), [None, {"outputs": outputs, "seconds": 0.5}]


def test_outputs_and_seconds_are_taken_and_nothing_else():
    notebook, gave = a_pair()
    gave[1] |= {"source": "2 + 2", "metadata": {"course": {"exercise": "a"}, "nbgrader": {"points": 100}}}
    back = nbformat.reads(with_outputs(notebook, json.dumps(gave)), as_version=4)
    assert back.cells[1].outputs[0].text == "2" and back.cells[1].metadata == {"course": {"seconds": 0.5}}
    assert back.cells[1].source == "1 + 1" and back.metadata.course == {"grading_seeds": {"a": [1]}}


@pytest.mark.parametrize(
    "gave",
    ["", "no JSON", "[]", "{}", "[null, null]", '[null, {"outputs": 3, "seconds": 1}]', "[" * 100_000,
     '[null, {"outputs": [{"output_type": "none such"}], "seconds": 1}]', '[null, {"outputs": [], "seconds": "long"}]'],
)  # fmt: skip
def test_what_no_cell_can_have_given_is_refused(gave):
    with pytest.raises(GaveNonsense):
        with_outputs(a_pair()[0], gave)


def test_a_version_is_that_of_the_code_that_runs(monkeypatch, tmp_path):
    from autograder.grading.fleet import contained

    for name in ("autograder/a.py", "course/b.py", "autograder/workshop/c.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"1\n")
    monkeypatch.setattr(contained, "ROOT", tmp_path)
    first = version()
    (tmp_path / "course/b.py").write_bytes(b"1\r\n")
    (tmp_path / "autograder/workshop/c.py").write_bytes(b"2\n")
    assert version() == first, "line ends and the maintainers' tools do not count"
    (tmp_path / "course/b.py").write_bytes(b"2\n")
    assert version() != first


def test_the_image_is_made_of_nothing_that_must_stay_here():
    ignored = (Path(__file__).parents[1] / ".dockerignore").read_text().splitlines()
    assert "*" in ignored and not any(word in line for line in ignored for word in ("!solutions", "!classroom", "!tests"))
