"""The class report: what it gathers, what it counts, whom it calls alike, and that its page is safe and whole."""

import csv
import html.parser
import re
from datetime import datetime
from pathlib import Path

import nbformat
import pytest
from grading_chapter import ALTERNATIVES, CHAPTER, MISTAKES, TOPIC
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from nbgrader.api import Base, Gradebook
from sqlalchemy import create_engine

from autograder import cli
from autograder.grading.classreport import command, count, page, table
from autograder.grading.classreport.alike import nearly_identical
from autograder.grading.classreport.gather import Class, NoClass, gather
from autograder.grading.states import GRADED, INFRASTRUCTURE_ERROR, STUDENT_ERROR, SUBMISSION_ERROR, state_of
from autograder.judging.reference import Reference
from autograder.workshop.madeup import Answers

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")  # of nbgrader's add_submission

XSS = "<script>alert(1)</script>"
NEGATED = "def double(x):\n    '''By Zoe.'''\n    return -2 * x  # Zoe's own"
HINT = {"negated": "The sign is <b>wrong</b>."}
FAILS = {"a_word": {"sentence": "A word comes back in capitals.", "came": f"shout: expected 'WORD', got {XSS}"}}
RIGHT = {"double": ("def double(x):\n    return x + x", {}), "shout": ("def shout(t):\n    return t.upper()", {})}


def judged(double=RIGHT["double"], shout=RIGHT["shout"], essay="*stub*", **notes):
    """An autograded notebook of the tiny chapter; double, shout: the source, and what the judge noted."""
    cells = [new_markdown_cell("# A tiny chapter\n\nand more")]
    for name, points, (source, noted) in (("double", 4, double), ("shout", 3, shout)):
        marks = {"grade_id": f"{name}_check", "grade": True, "solution": False, "points": points}
        noted = {"exercise": name, "mistakes": {}, "unanswered": False, "shaky": [], "unnamed": {}, "seconds": 1.5} | noted
        cells.append(new_code_cell(source, metadata={"nbgrader": {"grade_id": name, "grade": False, "solution": True}}))
        cells.append(new_code_cell(f'check("{name}", {name})', metadata={"nbgrader": marks, "course": noted}))
    written = {"grade_id": "essay", "grade": True, "solution": True, "points": 2}
    cells.append(new_markdown_cell(essay, metadata={"nbgrader": written}))
    return new_notebook(cells=cells, metadata={"course": {"grading_seeds": {}, "repairs": []} | notes})


def gradebook_in(folder: Path) -> Gradebook:
    """An empty one. Its tables are made here: nbgrader would start a program to learn their version."""
    url = f"sqlite:///{folder / 'gradebook.db'}"
    if not (folder / "gradebook.db").exists():
        engine = create_engine(url)
        Base.metadata.create_all(engine)
        engine.dispose()
    return Gradebook(url)


def make(folder: Path, notebooks: dict, grades: dict, absent=()) -> Class:
    """The class of these notebooks, gathered. grades: {student: (double, shout, essay)}; None: nothing is recorded."""
    with gradebook_in(folder) as gradebook:
        gradebook.add_assignment(TOPIC)
        gradebook.add_notebook(TOPIC, TOPIC)
        for cell, points, kind in (("double_check", 4, "code"), ("shout_check", 3, "code"), ("essay", 2, "markdown")):
            gradebook.add_grade_cell(cell, TOPIC, TOPIC, max_score=points, cell_type=kind)
        for student in (*grades, *absent):
            gradebook.add_student(student)
        for student, scores in grades.items():
            gradebook.add_submission(TOPIC, student)
            book = gradebook.find_submission_notebook(TOPIC, TOPIC, student)
            for grade in book.grades:
                score = scores[("double_check", "shout_check", "essay").index(grade.name)]
                grade.auto_score, grade.needs_manual_grade = score, score is None
        gradebook.db.commit()
        paths = []
        for student, notebook in notebooks.items():
            path = folder / "autograded" / student / TOPIC / f"{TOPIC}.ipynb"
            path.parent.mkdir(parents=True)
            path.write_bytes(notebook) if isinstance(notebook, bytes) else nbformat.write(notebook, path)
            paths.append((student, path))
        return gather(TOPIC, paths, gradebook)


def stopped():
    notebook = judged(shout=("def shout(t):\n    while True: pass", {"problem": "The check cell emitted no result."}))
    told = new_output("error", ename="Stopped", evalue=f"this cell did not finish. {XSS}", traceback=[])
    notebook.cells.insert(1, new_code_cell("while True: pass", outputs=[told]))
    return notebook


NOTEBOOKS = {
    "ada": judged(),
    "bo": judged(double=(NEGATED, {"mistakes": HINT})),
    "cy": judged(double=(NEGATED.replace("Zoe", "Yves"), {"mistakes": HINT}), shout=("", {"shaky": ["double"]})),
    "dee": judged(shout=("def shout(t):\n    return 1", {"unnamed": FAILS})),
    "eli": judged(double=("", {"unanswered": True}), shout=("def shout(t):\n    return 2", {"unnamed": FAILS})),
    "fay": judged(shout=("def shout(t):\n    return 3", {"unnamed": FAILS}), repairs=[f"A cell was missing. {XSS}"]),
    "gus": stopped(),
    "hal": judged(unreadable="gus.ipynb is empty."),
    "ida": judged(double=("", {"unjudged": True})),
    "jon": judged(lost="The grader failed on it.", unreadable="The grader failed on it."),
    "kit": b"[]",
}
GRADES = {
    "ada": (4, 3, None), "bo": (1, 3, 2), "cy": (1, 0, 0), "dee": (4, 1.5, 1), "eli": (0, 1.5, 0), "fay": (4, 1.5, 0),
    "gus": (4, 0, 0), "hal": (0, 0, 0), "ida": (None, 3, 0), "jon": (None, None, None), "kit": (4, 3, 2),
    "leo": (4, 3, 2), "=mia": (4, 3, 2),
}  # fmt: skip
del NOTEBOOKS["ida"].cells[2].metadata.course["exercise"]


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> Class:
    """leo and =mia are in the gradebook and have no notebook; nia handed in nothing."""
    return make(tmp_path_factory.mktemp("class"), NOTEBOOKS, GRADES, absent=["nia"])


def test_each_submission_is_in_one_of_four_states(found):
    states = {one.student: one.state for one in found.submissions}
    assert states == {
        **dict.fromkeys(("ada", "bo", "cy", "dee", "eli", "fay"), GRADED),
        "gus": STUDENT_ERROR,
        "hal": SUBMISSION_ERROR,
        **dict.fromkeys(("ida", "jon", "kit", "leo", "=mia"), INFRASTRUCTURE_ERROR),
    }
    assert count.states(found)[INFRASTRUCTURE_ERROR] == 5
    assert state_of(new_notebook(cells=[new_code_cell("check('x', x)", metadata=judged().cells[2].metadata)])) == GRADED
    not_judged = judged()
    not_judged.cells[2].metadata.pop("course")
    assert state_of(not_judged) == INFRASTRUCTURE_ERROR
    assert found.absent == ["nia"] and found.title == "A tiny chapter" and found.points == 9


def test_what_the_grader_failed_on_is_no_zero(found, tmp_path):
    table.write(found, tmp_path / "x.csv")
    with (tmp_path / "x.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["student"]: row for row in csv.DictReader(file)}
    assert list(rows["ada"]) == ["student", "score", "max_score", "state", "waits", "double", "shout", "essay"]
    assert list(rows["ada"].values()) == ["ada", "7", "9", GRADED, "1", "4", "3", ""]
    assert list(rows["dee"].values()) == ["dee", "6.5", "9", GRADED, "0", "4", "1.5", "1"]
    assert rows["hal"]["score"] == "0" and rows["hal"]["state"] == SUBMISSION_ERROR
    assert rows["nia"]["score"] == "" and rows["nia"]["state"] == table.ABSENT
    assert "'=mia" in rows and "=mia" not in rows, "a spreadsheet would compute it"
    for student in ("ida", "jon", "kit", "leo"):
        assert {rows[student][name] for name in ("score", "double", "shout", "essay")} == {""}
    assert count.scores(found).count == 7


def test_a_late_penalty_is_taken_off(tmp_path):
    make(tmp_path, {"ada": judged()}, {"ada": (4, 3, 2)})
    with gradebook_in(tmp_path) as gradebook:
        gradebook.find_submission_notebook(TOPIC, TOPIC, "ada").late_submission_penalty = 2.5
        gradebook.db.commit()
        (path,) = tmp_path.rglob("*.ipynb")
        assert gather(TOPIC, [("ada", path)], gradebook).submissions[0].score == 6.5


def test_exercises_are_counted(found):
    double, shout, essay = count.tasks(found)
    assert (double.passed, double.partly, double.nothing, double.unanswered, double.waiting) == (4, 2, 0, 1, 0)
    assert (shout.passed, shout.partly, shout.nothing, shout.unanswered, shout.waiting) == (2, 3, 2, 0, 0)
    assert (essay.passed, essay.partly, essay.nothing, essay.waiting, essay.task.written) == (1, 1, 4, 1, True)
    assert shout.share == pytest.approx((3 + 3 + 3 * 1.5) / 7 / 3)
    assert essay.share == pytest.approx(3 / 2 / 6), "what waits is not in the mean"
    assert double.seconds == 1.5 and essay.seconds is None


def test_mistakes_come_with_examples_that_name_nobody(found):
    (mistake,) = count.mistakes(found)
    assert (mistake.exercise, mistake.mistake, mistake.hint, mistake.count) == ("double", *HINT.popitem(), 2)
    assert mistake.examples == (count.Example("def double(x):\n    return -2 * x", 2),)
    assert count.shown("def f(:") == "" and count.shown(f"x = {'(' * 500}1{')' * 500}") == ""
    assert count.shown(f"x = 0x{'f' * 9000}") == "", "a number that Python does not write out"
    assert count.shown("x = 1\n" * 100).endswith("(60 more lines)")


def test_answers_that_rest_on_a_wrong_one_are_counted_apart(found):
    assert count.resting(found) == [count.Resting("shout", 5, "double", 1)]


def test_a_failure_that_many_share_and_nobody_can_name_is_told(found):
    case = count.SharedCase(FAILS["a_word"]["sentence"], 3, FAILS["a_word"]["came"], 3)
    assert count.unnamed(found) == [count.Unnamed("shout", ("dee", "eli", "fay"), 7, (case,))]


def test_who_needs_a_look_is_told_with_the_reason(found):
    looks = count.looks(found)
    assert looks.lost.keys() == {"ida", "jon", "kit", "leo", "=mia"} and all(s for (s,) in looks.lost.values())
    assert looks.unreadable == {"hal": ["gus.ipynb is empty."]}
    assert looks.stopped.keys() == {"gus"} and "shout: The check cell emitted no result." in looks.stopped["gus"]
    assert looks.waiting == {"essay": ["ada"]} and looks.repaired.keys() == {"fay"}


def test_the_page_is_whole_safe_and_says_it_all(found):
    """One file: nothing is fetched, nothing runs, and what students wrote is text."""
    made = page.to_html(found, command.alike_in(found, []), datetime(2026, 1, 2, 3, 4))
    parser = Tags()
    parser.feed(made)
    assert parser.open == [], "every element is closed"
    assert not parser.seen & {"script", "img", "link", "iframe", "object", "b<"} and "@import" not in made and "url(" not in made
    assert not parser.attributes & {"src", "onload", "onclick", "onerror"}
    assert re.findall('href="(.*?)"', made) == [f"#{name}" for name in re.findall('<h2 id="(.*?)"', made)] != []
    assert XSS not in made and "&lt;script&gt;" in made
    text = " ".join(parser.text.split())
    for said in (
        "A tiny chapter",
        "answers fail, and 1 of these calls a wrong double",
        "shout: 3 of 7 answers",
        "fails in 3, all of them alike: shout: expected",
        "Could not be read: 1",
        "gus.ipynb is empty.",
        "Repaired before grading: 1",
        "2 wrote it like this",
        "1 handed in nothing",
    ):
        assert said in text
    examples = re.findall(r"<pre>(.*?)</pre>", made, re.S)
    assert examples and not any("Zoe" in code or "Yves" in code for code in examples)


class Tags(html.parser.HTMLParser):
    """The elements of a page, their attributes and the text."""

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.attributes, self.text = [], set(), set(), ""

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_a_class_of_one_and_a_class_that_nothing_is_known_of_have_a_page_too(tmp_path):
    for number, notebook in enumerate((judged(), judged(lost="It was lost."))):
        folder = tmp_path / str(number)
        folder.mkdir()
        one = make(folder, {"ada": notebook}, {"ada": (4, 3, 2)})
        said = page.to_html(one, [], datetime(2026, 1, 2))
        assert ("No submission has a score yet." in said) == bool(number)
        assert "No known mistake was recognised" in said


def test_where_there_is_no_class_a_sentence_says_so(tmp_path):
    with pytest.raises(NoClass, match="Run nbgrader autograde 90_tiny first"):
        make(tmp_path, {}, {})
    with gradebook_in(tmp_path) as gradebook, pytest.raises(NoClass, match="knows no assignment 99_nothing"):
        gather("99_nothing", [], gradebook)


# --- Nearly identical answers

SHORT = "def double(x):\n    return x + x"
LONG = '''
def train(model, batches, steps, rate):
    """The loop."""
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.5)
    history = {"loss": [], "norm": []}
    for number in range(steps):
        inputs, targets = batches[number % len(batches)]
        scores = model(inputs.long())
        loss = -torch.gather(torch.log_softmax(scores, -1), -1, targets[..., None]).sum() / targets.numel()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0 + 0.5 * (number > 3))
        history["norm"].append(float(norm))
        optimizer.step()
        history["loss"].append(loss.item())
    return history
'''
DISGUISED = '''
def train(net, data: list, n, lr) -> dict:
    # all my own work
    opt = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.5)

    log = {"loss": [], "norm": []}
    for i in range(n):
        x, y = data[i % len(data)]
        out = net(x.long())
        l = -torch.gather(torch.log_softmax(out, -1), -1, y[..., None]).sum() / y.numel()
        opt.zero_grad(set_to_none=True)
        l.backward()
        g = torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0 + 0.5 * (i > 3))
        log["norm"].append(float(g))
        opt.step()
        log["loss"].append(l.item())
    return log
'''
OTHER = '''
def train(model, batches, steps, rate):
    losses = []
    groups = [{"params": list(model.parameters())}]
    adam = torch.optim.AdamW(groups, rate, (0.9, 0.95), weight_decay=0.1)
    stream = itertools.islice(itertools.cycle(batches), steps)
    while (pair := next(stream, None)) is not None:
        predicted = model(pair[0]).flatten(0, 1)
        value = functional.cross_entropy(predicted, pair[1].flatten(), ignore_index=-100)
        adam.zero_grad()
        value.backward()
        for group in adam.param_groups:
            torch.nn.utils.clip_grad_value_(group["params"], 2.0)
        adam.step()
        losses += [value.detach().cpu().numpy().tolist()]
    return dict(loss=losses, norm=None)
'''


def class_of(**trained: str) -> dict:
    return {"double": dict.fromkeys(trained, SHORT), "train": trained}


def test_the_same_answer_in_disguise_is_found():
    (group,) = nearly_identical(class_of(ada=LONG, bo=DISGUISED, cy=OTHER))
    assert (group.students, group.exercises) == (("ada", "bo"), ("train",)) and group.share > 0.95


def test_what_proves_nothing_is_not_called_alike():
    assert nearly_identical(class_of(ada=LONG, cy=OTHER)) == []
    assert nearly_identical({"double": dict.fromkeys("abc", SHORT)}) == [], "too short"
    assert nearly_identical(class_of(ada=LONG, bo=DISGUISED), [LONG]) == [], "it is the course's own"
    assert nearly_identical(class_of(**dict.fromkeys("abcdefgh", LONG))) == [], "the class has it from somewhere"
    assert nearly_identical(class_of(ada="def train(:", bo="def train(:")) == []
    deep = f"def train():\n    return {'-' * 90}1{' + 1' * 3000}"
    assert isinstance(nearly_identical(class_of(ada=deep, bo=deep)), list)


def test_pairs_that_share_somebody_are_one_group():
    answers = class_of(ada=LONG, bo=DISGUISED, cy=LONG.replace("0.5 *", "0.25 *"), dee=OTHER, eli=OTHER)
    groups = nearly_identical(answers | {"double": dict.fromkeys(answers["train"], SHORT)})
    assert [group.students for group in groups] == [("dee", "eli"), ("ada", "bo", "cy")]


# --- The command


def test_the_command_writes_both_files_and_says_where(tmp_path, capsys, monkeypatch):
    solutions, classroom = tmp_path / "solutions" / TOPIC, tmp_path / "classroom"
    solutions.mkdir(parents=True)
    for name, text in ((TOPIC, CHAPTER.lstrip()), ("mistakes", MISTAKES), ("alternatives", ALTERNATIVES)):
        (solutions / f"{name}.py").write_text(text)
    classroom.mkdir()
    make(classroom, {student: NOTEBOOKS[student] for student in ("ada", "bo")}, {"ada": (4, 3, 2), "bo": (1, 3, 2)})
    settings = {"root": tmp_path, "source_directory": "solutions", "autograded_directory": classroom / "autograded"}
    settings["db_url"] = f"sqlite:///{classroom / 'gradebook.db'}"
    config = [f"c.CourseDirectory.{name} = {str(value)!r}" for name, value in settings.items()]
    (tmp_path / "nbgrader_config.py").write_text("\n".join(["c = get_config()", *config]))
    monkeypatch.chdir(tmp_path)
    for folder, arguments in ((classroom / "report", []), (tmp_path / "elsewhere", ["--into", str(tmp_path / "elsewhere")])):
        assert cli.main(["report", TOPIC, *arguments]) == 0
        said = capsys.readouterr().out
        assert all((folder / f"{TOPIC}.{kind}").exists() for kind in ("html", "csv"))
        assert str(folder / f"{TOPIC}.html") in said and str(folder / f"{TOPIC}.csv") in said
    assert cli.main(["report", TOPIC, "--text"]) == 0
    assert re.search(r"^ +1  double +negated$", capsys.readouterr().out, re.M)
    assert cli.main(["report", "99_nothing"]) == 1
    assert "knows no assignment 99_nothing" in capsys.readouterr().err


def test_who_made_the_same_known_mistakes_is_not_called_alike():
    """Also where a mistake is a row of a table: what the row makes of the reference is no code in any file."""
    reference = Reference("01_pretraining")
    wrong = {name: Answers(reference).mistake(name, 1).source for name in reference.points}
    answers = {name: dict.fromkeys(("ada", "bo"), source) for name, source in wrong.items()}
    assert nearly_identical(answers, command.given_sources(reference)) == []
    assert nearly_identical(answers), "without the course's own sources they are"
