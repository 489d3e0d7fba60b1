"""What is run in grading is the release with the student's answers in it, whatever the student's file looks like."""

import copy

import nbformat
import pytest
from grading_chapter import cell_of
from hypothesis import given
from hypothesis import strategies as st
from nbconvert.filters.markdown_mistune import markdown2html_mistune
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_raw_cell
from nbgrader.utils import compute_checksum, determine_grade

from autograder.grading.demos import parts_to_run, why_missing
from autograder.grading.rebuild import answers_among, defined_names, rebuild

STUB = "raise NotImplementedError"


def answer_cell(name: str):
    """An unanswered cell of the release."""
    marks = {"grade_id": name, "grade": False, "solution": True, "locked": False, "schema_version": 3}
    return new_code_cell(f"def {name}(x):\n    {STUB}", id=name, metadata={"nbgrader": marks, "deletable": False})


def check_cell(name: str):
    marks = {"grade_id": f"{name}_check", "grade": True, "solution": False, "locked": True, "points": 2}
    return new_code_cell(
        f'check("{name}", {name})', id=f"{name}_check", metadata={"nbgrader": marks | {"schema_version": 3}}
    )


def essay_cell():
    marks = {"grade_id": "essay", "grade": True, "solution": True, "locked": False, "points": 2, "schema_version": 3}
    return new_markdown_cell("Your answer.", id="essay", metadata={"nbgrader": marks})


@pytest.fixture
def release():
    return new_notebook(
        cells=[
            new_markdown_cell("# Title", id="title"),
            new_code_cell("import math", id="imports", metadata={"tags": ["imports"]}),
            answer_cell("one"),
            check_cell("one"),
            new_code_cell("train()", id="demo", metadata={"tags": ["demo"]}),
            answer_cell("two"),
            check_cell("two"),
            essay_cell(),
        ],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )


@pytest.fixture
def submitted(release):
    """Everything answered and nothing damaged."""
    notebook = copy.deepcopy(release)
    cell_of(notebook, "one").source = "def one(x):\n    return 1"
    cell_of(notebook, "two").source = "def two(x):\n    return 2"
    cell_of(notebook, "essay").source = "My essay."
    return notebook


def sources(notebook) -> list[str]:
    return [cell.source for cell in notebook.cells]


def insert_after(notebook, grade_id: str, *cells) -> None:
    at = notebook.cells.index(cell_of(notebook, grade_id)) + 1
    notebook.cells[at:at] = cells


def strip_metadata(notebook) -> None:
    for number, cell in enumerate(notebook.cells):
        cell.metadata = nbformat.from_dict({})
        cell.id = f"changed-{number}"


def test_an_undamaged_submission_is_the_release_with_the_answers(release, submitted):
    rebuilt, repairs = rebuild(release, submitted)
    assert sources(rebuilt) == sources(submitted)
    assert [c.id for c in rebuilt.cells] == [c.id for c in release.cells]
    assert repairs == []
    nbformat.validate(rebuilt)


def test_a_blank_submission_is_the_release(release):
    rebuilt, repairs = rebuild(release, copy.deepcopy(release))
    assert sources(rebuilt) == sources(release)
    assert repairs == []


def test_nothing_but_sources_is_taken(release, submitted):
    for cell in submitted.cells:
        cell.metadata.tags = ["skip-execution", "demo", "imports"]
        cell.metadata.jupyter = {"source_hidden": True}
        if "nbgrader" in cell.metadata:
            cell.metadata.nbgrader.points = 99
            cell.metadata.nbgrader.schema_version = 1
        if cell.cell_type == "code":
            cell.outputs = [nbformat.v4.new_output("stream", text="forged")]
            cell.execution_count = 3
    submitted.metadata = nbformat.from_dict({"kernelspec": {"name": "bash"}, "course": {"grading_seeds": [0]}})
    rebuilt, _ = rebuild(release, submitted)
    assert [c.metadata for c in rebuilt.cells] == [c.metadata for c in release.cells]
    assert rebuilt.metadata == release.metadata
    assert all(not cell.get("outputs") and not cell.get("execution_count") for cell in rebuilt.cells)


def test_check_cells_missing_changed_and_copied_cost_nothing(release, submitted):
    submitted.cells.remove(cell_of(submitted, "one_check"))
    cell_of(submitted, "two_check").source = "4.0"
    insert_after(submitted, "two_check", copy.deepcopy(cell_of(submitted, "two_check")))
    rebuilt, repairs = rebuild(release, submitted)
    assert [s for s in sources(rebuilt) if s.startswith("check")] == ['check("one", one)', 'check("two", two)']
    assert "4.0" not in sources(rebuilt)
    assert len(repairs) == 2
    assert "`one_check` was missing" in repairs[0]
    assert "`two_check` had been changed" in repairs[1]


def test_a_copied_check_cell_beside_the_whole_one_is_no_repair(release, submitted):
    insert_after(submitted, "two_check", copy.deepcopy(cell_of(submitted, "two_check")))
    rebuilt, repairs = rebuild(release, submitted)
    assert len(rebuilt.cells) == len(release.cells)
    assert repairs == []


def test_of_two_copies_of_an_answer_both_run_and_the_later_wins(release, submitted):
    later = copy.deepcopy(cell_of(submitted, "one"))
    later.source = "def one(x):\n    return 'better'"
    submitted.cells.append(later)
    rebuilt, repairs = rebuild(release, submitted)
    at = sources(rebuilt).index("def one(x):\n    return 1")
    assert sources(rebuilt)[at + 1] == later.source
    assert sources(rebuilt)[at + 2] == 'check("one", one)'
    assert "nbgrader" not in rebuilt.cells[at + 1].metadata
    assert "2 copies of the answer cell `one`" in repairs[0]


def test_an_unanswered_copy_does_not_undo_the_answer(release, submitted):
    submitted.cells.append(copy.deepcopy(cell_of(release, "one")))
    rebuilt, repairs = rebuild(release, submitted)
    assert sources(rebuilt) == sources(submitted)[:-1]
    assert repairs == []


def test_an_answer_in_the_copy_of_an_unanswered_cell_counts(release, submitted):
    answered = copy.deepcopy(cell_of(submitted, "one"))
    cell_of(submitted, "one").source = cell_of(release, "one").source
    insert_after(submitted, "one", answered)
    rebuilt, _ = rebuild(release, submitted)
    assert cell_of(rebuilt, "one").source == answered.source


def test_answers_are_recognised_by_id_where_the_metadata_is_gone(release, submitted):
    for cell in submitted.cells:
        cell.metadata = nbformat.from_dict({})
    rebuilt, repairs = rebuild(release, submitted)
    assert cell_of(rebuilt, "two").source == "def two(x):\n    return 2"
    assert cell_of(rebuilt, "essay").source == "My essay."
    assert repairs == []


def test_answers_are_recognised_by_their_functions_where_everything_is_gone(release, submitted):
    cell_of(submitted, "one").source = "%matplotlib inline\nimport re\ndef one(x):\n    return 1"
    strip_metadata(submitted)
    rebuilt, repairs = rebuild(release, submitted)
    assert cell_of(rebuilt, "one").source.endswith("return 1")
    assert cell_of(rebuilt, "two").source.endswith("return 2")
    assert sum("had lost its name" in repair for repair in repairs) == 2
    assert sources(rebuilt).count('check("one", one)') == 1
    assert len(rebuilt.cells) == len(release.cells) + 1  # the essay cannot be recognised: it stays a cell of its own


def test_an_answer_that_does_not_parse_is_recognised_too(release, submitted):
    cell_of(submitted, "one").source = "def one(x):\n    return ("
    strip_metadata(submitted)
    rebuilt, _ = rebuild(release, submitted)
    assert cell_of(rebuilt, "one").source == "def one(x):\n    return ("


def test_two_answer_cells_merged_into_one_count_for_both(release, submitted):
    first, second = cell_of(submitted, "one"), cell_of(submitted, "two")
    first.source = f"{first.source}\n\n{second.source}"
    submitted.cells.remove(second)
    rebuilt, repairs = rebuild(release, submitted)
    assert cell_of(rebuilt, "two").source == first.source
    assert "`two` was missing; another cell answers it" in repairs[0]


def test_a_missing_answer_is_unanswered(release, submitted):
    submitted.cells.remove(cell_of(submitted, "two"))
    rebuilt, repairs = rebuild(release, submitted)
    assert cell_of(rebuilt, "two").source == cell_of(release, "two").source
    assert "`two` was missing: it counts as not answered" in repairs[0]


def test_own_cells_keep_their_places_and_nothing_else(release, submitted):
    first = new_code_cell("x = 0", id="mine", metadata={"tags": ["demo"], "nbgrader": {"grade": True}})
    submitted.cells.insert(0, first)
    insert_after(submitted, "one_check", new_code_cell("helper = 1"), new_markdown_cell("A note."), new_code_cell(" "))
    submitted.cells.append(new_raw_cell("<b>raw</b>"))
    rebuilt, _ = rebuild(release, submitted)
    assert sources(rebuilt)[0] == "x = 0"
    at = sources(rebuilt).index('check("one", one)')
    assert sources(rebuilt)[at + 1 : at + 4] == ["helper = 1", "A note.", "train()"]
    own = [cell for cell in rebuilt.cells if cell.id.startswith("own-")]
    assert len(own) == 4
    assert all(cell.metadata == {} for cell in own)
    assert own[-1].cell_type == "markdown"
    nbformat.validate(rebuilt)


def test_copies_of_the_releases_cells_are_dropped(release, submitted):
    for cell in release.cells:
        extra = copy.deepcopy(cell)
        extra.metadata, extra.id = nbformat.from_dict({}), f"again-{cell.id}"
        submitted.cells.append(extra)
    rebuilt, repairs = rebuild(release, submitted)
    assert len(rebuilt.cells) == len(release.cells)
    assert sources(rebuilt) == sources(submitted)[: len(release.cells)]
    assert repairs == []


def test_a_changed_import_cell_runs_too_and_a_changed_demonstration_does_not(release, submitted):
    submitted.cells[1].source = "import math\nimport statistics"
    submitted.cells[4].source = "train(for_ever=True)"
    submitted.cells[0].source = "# Another title"
    rebuilt, repairs = rebuild(release, submitted)
    assert sources(rebuilt)[:3] == ["# Title", "import math", "import math\nimport statistics"]
    assert "imports" not in rebuilt.cells[2].metadata.get("tags", [])
    assert "train(for_ever=True)" not in sources(rebuilt)
    assert len(repairs) == 1


def test_a_changed_demonstration_is_kept_for_what_is_cheap_in_it(release, submitted):
    submitted.cells[4].source = "train()\nPAD = 3"
    rebuilt, repairs = rebuild(release, submitted)
    assert sources(rebuilt)[4:6] == ["train()", "train()\nPAD = 3"]
    assert rebuilt.cells[5].metadata.tags == ["demo"]
    assert "It is a demonstration: in grading only" in repairs[0]


@pytest.mark.parametrize("where", ["before", "between", "behind"])
def test_an_answer_in_an_own_cell_counts_where_the_answer_cell_is_as_released(release, submitted, where):
    cell_of(submitted, "one").source = cell_of(release, "one").source
    mine = new_code_cell("def one(x):\n    return helper(x)")
    at = {"before": "title", "between": "one", "behind": "one_check"}[where]
    place = next(i for i, cell in enumerate(submitted.cells) if cell.id == at) + 1
    submitted.cells[place:place] = [mine, new_code_cell("def helper(x):\n    return 7")]
    rebuilt, repairs = rebuild(release, submitted)
    namespace: dict = {}
    for cell in rebuilt.cells[: rebuilt.cells.index(cell_of(rebuilt, "one_check"))]:
        if cell.cell_type == "code":
            exec(cell.source, namespace)
    assert namespace["one"](0) == 7
    assert any("`one` was as it was released, and a cell of your own defines" in repair for repair in repairs)


def test_of_own_definitions_the_last_one_that_is_python_is_taken(release, submitted):
    cell_of(submitted, "one").source = cell_of(release, "one").source
    tries = ["def one(x):\n    return 1", "def one(x):\n    return 2", "def one(x):\n    return ("]
    submitted.cells += [new_code_cell(source) for source in tries]
    rebuilt, _ = rebuild(release, submitted)
    assert cell_of(rebuilt, "one").source == tries[1]


def test_an_own_cell_takes_nothing_from_an_answer(release, submitted):
    submitted.cells.append(new_code_cell("def one(x):\n    return 'an experiment'"))
    rebuilt, repairs = rebuild(release, submitted)
    assert cell_of(rebuilt, "one").source == cell_of(submitted, "one").source
    assert repairs == []


def test_an_answer_in_another_answer_cell_counts_beside_the_stub(release, submitted):
    two = cell_of(submitted, "two")
    cell_of(submitted, "one").source += "\n\n" + two.source
    two.source = cell_of(release, "two").source
    rebuilt, repairs = rebuild(release, submitted)
    assert cell_of(rebuilt, "two").source == cell_of(submitted, "one").source
    assert "`two` was as it was released; another cell answers it." in repairs[0]


ESSAY = "Because the loss is a mean over tokens."


@pytest.mark.parametrize(
    "cell", [new_markdown_cell(ESSAY), new_raw_cell(ESSAY), new_code_cell(ESSAY), new_code_cell(f"# {ESSAY}")]
)
@pytest.mark.parametrize("where", ["above", "below"])
@pytest.mark.parametrize("stub", ["as released", "missing"])
def test_a_written_answer_beside_its_stub_is_read_by_a_person(release, submitted, cell, where, stub):
    essay = cell_of(submitted, "essay")
    essay.source = cell_of(release, "essay").source
    submitted.cells.insert(submitted.cells.index(essay) + (where == "below"), copy.deepcopy(cell))
    if stub == "missing":
        submitted.cells.remove(essay)
    rebuilt, repairs = rebuild(release, submitted)
    assert ESSAY in cell_of(rebuilt, "essay").source
    assert needs_a_person(rebuilt)
    assert "taken as the answer, for a person to read" in " ".join(repairs)


def needs_a_person(rebuilt) -> bool:
    """Whether nbgrader asks for a manual grade: it gives 0 where the cell is as it was released."""
    cell = copy.deepcopy(cell_of(rebuilt, "essay"))
    cell.metadata.nbgrader.checksum = compute_checksum(essay_cell())
    return determine_grade(cell)[0] is None


def test_a_written_answer_far_from_its_stub_is_pointed_out(release, submitted):
    """Far: another graded cell lies between. Whether that text is the answer is for a person to say."""
    for notebook in (release, submitted):
        notebook.cells += [answer_cell("three"), check_cell("three")]
    cell_of(submitted, "essay").source = cell_of(release, "essay").source
    submitted.cells.append(new_markdown_cell(ESSAY))
    rebuilt, repairs = rebuild(release, submitted)
    assert needs_a_person(rebuilt)
    assert "texts of the student's own" in cell_of(rebuilt, "essay").source
    assert "a person will see whether one is the answer" in repairs[0]


def test_a_stub_without_any_text_near_it_asks_nobody(release, submitted):
    cell_of(submitted, "essay").source = cell_of(release, "essay").source
    submitted.cells[1:1] = [new_markdown_cell("A note on the title, long before.")]
    insert_after(submitted, "two_check", new_code_cell("x = 1"), new_markdown_cell("## Notes"))
    submitted.cells.append(new_code_cell("def plot():\n    # draws all the curves there are\n    ..."))
    rebuilt, repairs = rebuild(release, submitted)
    assert not needs_a_person(rebuilt)
    assert repairs == []


def test_a_written_answer_turned_into_a_code_cell_is_no_markup(release, submitted):
    marks = cell_of(submitted, "essay").metadata
    submitted.cells[-1] = new_code_cell("<script>alert(1)</script>", metadata=marks)
    rebuilt, _ = rebuild(release, submitted)
    assert "<script" not in cell_of(rebuilt, "essay").source


def test_a_cell_that_the_release_gained_makes_no_cell_the_students():
    """Ids of unnamed cells are places within a section: they shift when a cell is inserted before them."""
    marks = {"grade_id": "one", "grade": False, "solution": True, "locked": False, "schema_version": 3}

    def edition(*cells_between):
        texts = ["import math", *cells_between, "scale = 2", "shift = 3\nprint(shift)"]
        cells = [new_code_cell(text, id=f"part-{i}") for i, text in enumerate(texts)]
        return new_notebook(cells=[*cells, new_code_cell("def one(): ...", id="one", metadata={"nbgrader": marks})])

    submitted = edition()
    rebuilt, repairs = rebuild(edition("inserted = 1"), submitted)
    assert sources(rebuilt) == sources(edition("inserted = 1"))
    assert repairs == []
    submitted.cells[2].source = "shift = 4\nprint(shift)"
    rebuilt, repairs = rebuild(edition("inserted = 1"), submitted)
    assert sources(rebuilt)[3:5] == ["shift = 3\nprint(shift)", "shift = 4\nprint(shift)"]
    assert len(repairs) == 1
    assert "begins `shift = 3`" in repairs[0]


@pytest.mark.parametrize("copied", [1, 5, 7])
def test_a_copy_of_a_release_cell_is_no_landmark(release, submitted, copied):
    """An own cell behind a copy stays where the student has it."""
    extra = copy.deepcopy(submitted.cells[copied])
    extra.id, extra.metadata = "new", nbformat.from_dict({})
    extra.source = release.cells[copied].source
    insert_after(submitted, "one", extra, new_code_cell("helper = 1"))
    rebuilt, _ = rebuild(release, submitted)
    at = sources(rebuilt).index("helper = 1")
    assert rebuilt.cells[at - 1].id == "one"
    assert rebuilt.cells[at + 1].id == "one_check"


def test_pictures_of_a_written_answer_beside_its_stub_come_along(release, submitted):
    cell_of(submitted, "essay").source = cell_of(release, "essay").source
    for data in ("AAAA", "BBBB"):
        picture = {"photo.png": {"image/png": data}}
        submitted.cells.append(new_markdown_cell("![it](attachment:photo.png)", attachments=picture))
    rebuilt, _ = rebuild(release, submitted)
    essay = cell_of(rebuilt, "essay")
    assert [images["image/png"] for images in essay.attachments.values()] == ["AAAA", "BBBB"]
    assert all(f"(attachment:{name})" in essay.source for name in essay.attachments)


def test_code_nested_too_deeply_to_be_read_costs_nobody_else(release, submitted):
    deep = "def one(x): return x" + ".a" * 900 + "()"
    cell_of(submitted, "one").source = deep
    submitted.cells[4].source = "y = 1\nx = y" + ".a" * 900 + "()"
    submitted.cells += [new_code_cell(deep), new_code_cell("z = " + "-" * 900 + "1")]
    rebuilt, _ = rebuild(release, submitted)
    parts_to_run(rebuilt)
    why_missing("name 'y' is not defined", rebuilt)
    assert cell_of(rebuilt, "one").source == deep


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "cells",
    [
        [new_code_cell("\n" * 400_000 + "def one(x): return 1")],
        [new_code_cell("%" + " \n" * 200_000)],
        [new_code_cell(f"def f{i}(x): return {i}") for i in range(2000)],
        [new_markdown_cell(f"text {i} of mine, such as it is") for i in range(2000)],
    ],
)
def test_no_submission_takes_minutes_to_rebuild(release, cells):
    answers_among(release, cells)
    rebuilt, _ = rebuild(release, new_notebook(cells=cells))
    parts_to_run(rebuilt)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "nested", ["\\begin{a}" * 10_000, "[" * 100_000, "![" * 50_000, "(" * 100_000, "> " * 50_000, "**a" * 30_000]
)
def test_deeply_nested_markdown_is_shown_as_text(release, submitted, nested):
    submitted.cells.append(new_markdown_cell(nested))
    rebuilt, _ = rebuild(release, submitted)
    markdown2html_mistune(rebuilt.cells[-1].source)
    assert rebuilt.cells[-1].source.startswith("    ")


def test_a_notebook_of_another_chapter_says_so(release):
    other = new_notebook(cells=[new_markdown_cell("# Other"), new_code_cell("def three(): ...")])
    rebuilt, repairs = rebuild(release, other)
    assert [c.source for c in rebuilt.cells if "nbgrader" in c.metadata] == [
        c.source for c in release.cells if "nbgrader" in c.metadata
    ]
    assert len(repairs) == 1
    assert "another chapter" in repairs[0]


def test_what_a_student_writes_is_no_markup(release, submitted):
    cell_of(submitted, "essay").source = "<script>alert(1)</script> and $a<b$"
    rebuilt, _ = rebuild(release, submitted)
    assert "<script" not in cell_of(rebuilt, "essay").source
    assert "$a" in cell_of(rebuilt, "essay").source


def test_neither_notebook_is_changed(release, submitted):
    before = copy.deepcopy((release, submitted))
    rebuild(release, submitted)
    assert (release, submitted) == before


def test_answers_are_counted_in_whatever_state(release, submitted):
    assert answers_among(release, release.cells) == 0
    assert answers_among(release, submitted.cells) == 3
    assert answers_among(release, [new_code_cell("def one(x):\n    return 1")]) == 1
    assert answers_among(release, [new_markdown_cell("# Other"), new_code_cell("y = 1")]) == 0


def test_defined_names():
    assert defined_names("%time x\n!ls\ndef f(): ...\nclass C: ...\ng = lambda: 0\nf()") == {"f", "C", "g"}
    assert defined_names("def f(:\n  pass\nasync def g(): ...") == {"f", "g"}
    assert defined_names("") == set()
    assert defined_names("def f(): ...\n\0") == {"f"}  # a null byte, which Python refuses to parse


PIECES = st.lists(st.tuples(st.integers(0, 7), st.sampled_from(["keep", "strip", "edit", "own", "twice"])), max_size=14)


@given(PIECES)
def test_whatever_was_done_to_the_file_every_cell_of_the_release_is_there_once(pieces):
    original = new_notebook(cells=[answer_cell("one"), check_cell("one"), answer_cell("two"), check_cell("two")])
    original.cells += [new_code_cell("import math", id="imports"), essay_cell()]
    cells = []
    for index, change in pieces:
        cell = copy.deepcopy(original.cells[index % len(original.cells)])
        if change == "strip":
            cell.metadata, cell.id = nbformat.from_dict({}), f"x{len(cells)}"
        elif change == "edit":
            cell.source += "\n# changed"
        elif change == "own":
            cell = new_code_cell("y = 1")
        cells += [cell] * (2 if change == "twice" else 1)
    submitted = new_notebook()
    submitted.cells = cells  # not by new_notebook: it would mend the doubled ids
    rebuilt, _ = rebuild(original, submitted)
    kept = [cell.id for cell in rebuilt.cells if not cell.id.startswith("own-")]
    assert kept == [cell.id for cell in original.cells]
    checks = [c.source for c in rebuilt.cells if c.id.endswith("_check")]
    assert checks == ['check("one", one)', 'check("two", two)']
    nbformat.validate(rebuilt)
