"""What a student meets outside of a notebook and in one: the command line, `check`, progress, and the report."""

import html.parser
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from autograder import CheckFailed, check, cli, progress
from autograder.evidence import MIME, PUBLIC_SEEDS, STUB, collect
from autograder.exercise import UnknownExercise, exercises_of, find_exercise
from autograder.judging import key
from autograder.judging.judge import judge_evidence
from autograder.judging.reference import Reference
from autograder.judging.report import progress_html, progress_text, to_html, to_text
from autograder.progress import passing, record

ROOT = Path(__file__).resolve().parent.parent
PRETRAINING = [exercise.name for exercise in exercises_of("01_pretraining")]

RIGHT = "def mean_loss(losses):\n    return losses.mean()\n"
WRONG = "def mean_loss(losses):\n    return losses.sum()\n"


@pytest.fixture(scope="session")
def references() -> dict[str, Reference]:
    return {topic: Reference(topic) for topic in ("00_start_here", "01_pretraining")}


@pytest.fixture(scope="session")
def keys(tmp_path_factory, references) -> Path:
    """Answer keys of the probes and references as they are now."""
    folder = tmp_path_factory.mktemp("keys")
    for topic, reference in references.items():
        key.write_key(key.build_key(topic, reference), key.key_path(topic, folder))
    return folder


@pytest.fixture(autouse=True)
def with_these_keys(keys, monkeypatch):
    monkeypatch.setattr(key, "KEYS", keys)
    monkeypatch.setattr(cli, "KEYS", keys)
    key.load_key.cache_clear()
    yield
    key.load_key.cache_clear()


@pytest.fixture(autouse=True)
def progress_file(tmp_path, monkeypatch) -> Path:
    path = tmp_path / "kept" / "progress.json"
    monkeypatch.setenv("COURSE_PROGRESS_FILE", str(path))
    monkeypatch.setitem(record.__globals__, "_of_this_process", {})
    return path


@pytest.fixture
def answers(tmp_path):
    """Writes a file of answers."""

    def write(source: str, name: str = "answers.py") -> str:
        path = tmp_path / name
        path.write_bytes(source if isinstance(source, bytes) else source.encode())
        return str(path)

    return write


def run_json(capsys, *arguments) -> tuple[int, dict]:
    code = cli.main(["check", *arguments, "--json"])
    printed = capsys.readouterr()
    assert printed.err == ""
    return code, json.loads(printed.out)


# --- autograder check


def test_right_answers_exit_with_zero(answers, capsys):
    assert cli.main(["check", "00_start_here", answers(RIGHT)]) == 0
    text = capsys.readouterr().out
    assert "✓" in text and "✗" not in text and text.endswith("1 of 1 points\n")


def test_wrong_answers_exit_with_one_and_are_diagnosed(answers, capsys, references):
    assert cli.main(["check", "00_start_here", answers(WRONG)]) == 1
    text = capsys.readouterr().out
    hint = references["00_start_here"].mistake_functions("mean_loss")["sum_for_mean"].__doc__
    assert hint in text and "expected" in text and "0.25 of 1 points" in text


def test_json_says_it_all(answers, capsys):
    code, result = run_json(capsys, "00_start_here", answers(WRONG))
    assert code == 1 and not result["passed"]
    assert (result["topic"], result["score"], result["points"]) == ("00_start_here", 0.25, 1)
    (exercise,) = result["exercises"]
    assert exercise["name"] == "mean_loss" and exercise["score"] == 0.25 and exercise["points"] == 1
    assert "You returned the sum." in exercise["diagnosis"]
    assert [(case["name"], case["passed"]) for case in exercise["cases"]] == [
        ("three_losses", False),
        ("one_loss", True),
        ("a_table_of_losses", False),
        ("arguments_stay", False),
    ]
    failed = exercise["cases"][0]
    assert failed["mistake"] == "sum_for_mean" and failed["diagnosis"] == exercise["diagnosis"]
    assert failed["differences"][0]["name"] == "mean" and failed["differences"][0]["expected"]


@pytest.fixture(scope="module")
def reference_source() -> str:
    reference = Reference("01_pretraining")
    cells = reference.notebook.cells
    solutions = [c.source for c in cells if c.metadata.get("nbgrader", {}).get("solution")]
    imports = (
        "import math, random, torch\nfrom collections import Counter, defaultdict\nimport torch.nn.functional as F"
    )
    return "\n\n".join([imports, *solutions])


def test_the_reference_itself_passes_the_chapter(answers, capsys, reference_source, references):
    code, result = run_json(capsys, "01_pretraining", answers(reference_source))
    assert code == 0 and result["passed"] and result["score"] == result["points"]
    assert result["points"] == sum(references["01_pretraining"].points.values())
    assert [exercise["name"] for exercise in result["exercises"]] == PRETRAINING


def test_missing_and_hanging_and_dying_functions_cost_only_themselves(answers, capsys, monkeypatch):
    monkeypatch.setenv("COURSE_CASE_SECONDS", "0.5")
    monkeypatch.setenv("COURSE_MEMORY_MB", "512")
    source = """
import os, torch
def make_labels(input_ids, attention_mask):
    while True: pass
def causal_lm_loss(logits, labels):
    os._exit(7)
def perplexity(token_losses):
    return token_losses.mean().exp()
def bits_per_byte(token_losses, text):
    return [0] * 10**12
learning_rate = 3
"""
    code, result = run_json(capsys, "01_pretraining", answers(source))
    found = {exercise["name"]: exercise for exercise in result["exercises"]}
    assert code == 1 and list(found) == PRETRAINING
    assert found["perplexity"]["score"] == found["perplexity"]["points"]
    assert {name for name, exercise in found.items() if exercise["score"] > 0} == {"perplexity"}
    problems = {name: " ".join(case["problem"] for case in found[name]["cases"]) for name in found}
    assert "endless loop" in problems["make_labels"]
    assert "exit code 7" in problems["causal_lm_loss"]
    assert "more memory" in problems["bits_per_byte"]
    assert found["train"]["problem"] == "answers.py defines no function train."
    assert "no function learning_rate" in found["learning_rate"]["problem"]


UNLOADABLE = {
    "a syntax error": ("def mean_loss(losses:\n", "SyntaxError"),
    "a name that does not exist": ("x = 1\ny = nothing_of_that_name\n", "(line 2)"),
    "an import that does not exist": ("import no_such_module\n", "no_such_module"),
    "exit at the top": ("exit(0)\n", "SystemExit"),
    "os._exit at the top": ("import os\nos._exit(0)\n", "ended the Python process"),
    "bytes that are no text": (b"x = '\xff\xfe'\n", "UTF-8"),
    "null bytes": (b"x = 1\x00\n", "null bytes"),
}


@pytest.mark.parametrize("source, sentence", UNLOADABLE.values(), ids=UNLOADABLE)
def test_a_file_that_cannot_be_loaded_exits_with_two_and_says_why(source, sentence, answers, capsys):
    path = answers(source)
    assert cli.main(["check", "00_start_here", path]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and sentence in printed.err and "answers.py" in printed.err
    assert "Traceback" not in printed.err
    assert cli.main(["check", "00_start_here", path, "--json"]) == 2
    assert sentence in json.loads(capsys.readouterr().out)["error"]


def test_a_file_that_hangs_while_it_is_loaded_is_stopped(answers, capsys, monkeypatch):
    monkeypatch.setattr(cli, "LOADING_SECONDS", 1.0)
    monkeypatch.setenv("COURSE_CASE_SECONDS", "0.1")
    assert cli.main(["check", "00_start_here", answers("while True: pass\n")]) == 2
    assert "stopped while it was loaded" in capsys.readouterr().err


@pytest.mark.parametrize(
    "topic, file, sentence",
    [
        ("00_start_here", "nowhere.py", "There is no file"),
        ("00_start_here", "notebook.ipynb", "is a notebook"),
        ("00_start_here", ".", "cannot be read"),
        ("42_nothing", "answers.py", "no answer key for the chapter '42_nothing'"),
    ],
)
def test_what_cannot_be_checked_exits_with_two(topic, file, sentence, answers, tmp_path, capsys):
    answers(RIGHT), answers("{}", "notebook.ipynb")
    assert cli.main(["check", topic, str(tmp_path / file)]) == 2
    assert sentence in capsys.readouterr().err


def test_a_byte_order_mark_and_helpers_beside_the_file_are_fine(answers, capsys):
    answers("def average(x):\n    return x.mean()\n", "helper_beside_answers.py")
    source = "\ufefffrom helper_beside_answers import average\ndef mean_loss(losses):\n    return average(losses)\n"
    assert cli.main(["check", "00_start_here", answers(source)]) == 0


def test_as_a_command_with_the_shipped_key(tmp_path):
    """The whole way, as a student types it: the exit code, and nothing on stderr."""
    file = tmp_path / "answers.py"
    environment = os.environ | {"COURSE_PROGRESS_FILE": str(tmp_path / "progress.json")}
    for source, code in ((RIGHT, 0), (WRONG, 1), ("mean_loss(", 2)):
        file.write_text(source)
        command = [sys.executable, "-m", "autograder.cli", "check", "00_start_here", str(file), "--json"]
        run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
        assert run.returncode == code, run.stderr
        assert run.stderr == "" and json.loads(run.stdout)


@pytest.mark.parametrize("only", [["perplexity"], ["bits_per_byte", "perplexity"]])
def test_only_the_exercises_that_are_named_are_checked(answers, capsys, only):
    source = "def perplexity(token_losses):\n    return token_losses.mean().exp().item()\n"
    code, result = run_json(capsys, "01_pretraining", answers(source), "--only", *only)
    assert [exercise["name"] for exercise in result["exercises"]] == [n for n in PRETRAINING if n in only]
    assert result["points"] == sum(exercise["points"] for exercise in result["exercises"])
    assert code == (only != ["perplexity"]) and result["passed"] == (only == ["perplexity"])
    assert cli.main(["check", "01_pretraining", answers(source), *(w for n in only for w in ("--only", n))]) == code
    assert capsys.readouterr().out.count("nothing to judge") == len(only) - 1


def test_an_exercise_that_was_right_before_is_not_blamed_where_another_alone_is_checked(answers, capsys):
    right = "def perplexity(token_losses):\n    return token_losses.mean().exp().item()\n"
    resting = "import math\ndef bits_per_byte(token_losses, text):\n    return math.log2(perplexity(token_losses))\n"
    assert cli.main(["check", "01_pretraining", answers(right + resting), "--only", "perplexity"]) == 0
    assert cli.main(["check", "01_pretraining", answers(right + resting), "--only", "bits_per_byte"]) == 1
    assert "begin there" not in capsys.readouterr().out


def test_an_unknown_exercise_is_told_the_nearest(answers, capsys):
    assert cli.main(["check", "01_pretraining", answers(RIGHT), "--only", "perplexty"]) == 2
    assert "01_pretraining has no exercise 'perplexty'. Did you mean 'perplexity'?" in capsys.readouterr().err
    assert cli.main(["check", "01_pretraining", answers(RIGHT), "--only", "mean_loss", "--json"]) == 2
    assert "has no exercise 'mean_loss'" in json.loads(capsys.readouterr().out)["error"]


INSTRUCTORS = [
    ("prepare", "autograder.workshop.prepare"),
    ("rejudge", "autograder.grading.rejudge"),
    ("grade", "autograder.grading.fleet.grade"),
    ("report", "autograder.grading.classreport.command"),
]


@pytest.mark.parametrize(("command", "module"), INSTRUCTORS)
def test_what_is_for_instructors_says_so_where_it_is_not_installed(command, module, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, module, None)
    assert cli.main([command, "00_start_here"]) == 2
    assert "is for instructors" in capsys.readouterr().err


# --- check, in a notebook


def wrong(losses):
    return losses.sum()


def test_a_right_answer_is_shown_and_remembered(capsys):
    assert check("mean_loss", torch.mean) is None
    assert "mean_loss: 4 of 4 cases pass" in capsys.readouterr().out
    assert next(row.best for row in progress().rows if row.exercise == "mean_loss") == 1.0


def test_a_wrong_answer_raises_after_its_report(capsys):
    with pytest.raises(CheckFailed, match="mean_loss: 1 of 4 cases pass"):
        check("mean_loss", wrong)
    assert "You returned the sum." in capsys.readouterr().out
    row = next(row for row in progress().rows if row.exercise == "mean_loss")
    assert row.best == row.last == pytest.approx(1 / 4)


def test_the_failure_is_one_line_in_a_notebook():
    with pytest.raises(CheckFailed) as failure:
        check("mean_loss", wrong)
    (line,) = failure.value._render_traceback_()
    assert "\n" not in line and "mean_loss" in line


def test_a_misspelt_exercise_is_a_kind_error():
    with pytest.raises(UnknownExercise, match="Did you mean 'mean_loss'"):
        check("mean_los", torch.mean)


@pytest.mark.parametrize("answer", [torch.mean, wrong, lambda losses: 1 / 0], ids=["right", "wrong", "raises"])
def test_in_grading_a_check_emits_evidence_once_and_judges_nothing(answer, monkeypatch, capsys, progress_file):
    import IPython.display

    emitted = []
    monkeypatch.setattr(IPython.display, "display", lambda *data, **options: emitted.append((data, options)))
    monkeypatch.setenv("COURSE_GRADING_SEEDS", "123,456,789")
    assert check("mean_loss", answer) is None
    (((bundle,), options),) = emitted
    assert options == {"raw": True} and set(bundle) == {MIME}
    evidence = json.loads(json.dumps(bundle[MIME]))
    assert {record["seed"] for record in evidence["records"]} <= {123, 456, 789}
    verdict = judge_evidence("mean_loss", evidence, Reference("00_start_here"), (123, 456, 789))
    assert verdict.passed == (answer is torch.mean)
    assert "".join(capsys.readouterr()) == "" and not progress_file.exists()


def perplexity_wrong(token_losses):
    return token_losses.sum().exp().item()


def bits_by_way_of_perplexity(token_losses, text):
    return math.log2(perplexity(token_losses)) * len(token_losses) / len(text.encode())  # noqa: F821


def test_a_report_says_which_other_answer_to_mend_first(monkeypatch, capsys):
    """Until that one passes; then what is wrong is here."""
    sentence = "calls `perplexity`, which has not passed its check: begin there"
    monkeypatch.setitem(globals(), "perplexity", perplexity_wrong)
    for name, answer in {"perplexity": perplexity_wrong, "bits_per_byte": bits_by_way_of_perplexity}.items():
        with pytest.raises(CheckFailed):
            check(name, answer)
        assert (sentence in capsys.readouterr().out) == (name == "bits_per_byte")
    monkeypatch.setitem(globals(), "perplexity", lambda token_losses: token_losses.mean().exp().item())
    check("perplexity", perplexity)  # noqa: F821
    check("bits_per_byte", bits_by_way_of_perplexity)
    capsys.readouterr()
    with pytest.raises(CheckFailed):
        check("bits_per_byte", lambda *given: 2 * bits_by_way_of_perplexity(*given))
    assert "begin there" not in capsys.readouterr().out


def test_an_answer_that_calls_one_that_is_not_written_is_not_called_unanswered(monkeypatch, capsys):
    def unwritten(token_losses):
        raise NotImplementedError(STUB)

    monkeypatch.setitem(globals(), "perplexity", unwritten)
    with pytest.raises(CheckFailed, match=r"0 of \d+ cases pass"):
        check("bits_per_byte", bits_by_way_of_perplexity)
    assert "begin there" in capsys.readouterr().out


def test_a_file_with_a_wrong_answer_that_others_call(answers, capsys):
    file = answers(
        "import math\n\n\ndef perplexity(token_losses):\n    return token_losses.sum().exp().item()\n\n\n"
        "def bits_per_byte(token_losses, text):\n"
        "    return math.log2(perplexity(token_losses)) * len(token_losses) / len(text.encode())\n"
    )
    assert cli.main(["check", "01_pretraining", file]) == 1
    assert capsys.readouterr().out.count("calls `perplexity`") == 1


# --- progress


def verdict_of(answer):
    evidence = collect(find_exercise("mean_loss"), answer, PUBLIC_SEEDS)
    return judge_evidence("mean_loss", evidence, key.load_key("00_start_here"), PUBLIC_SEEDS)


def test_progress_keeps_the_best_and_the_last():
    record(verdict_of(torch.mean))
    record(verdict_of(wrong))
    shown = progress("00_start_here")
    (row,) = shown.rows
    assert row.best == 1.0 and row.last == pytest.approx(1 / 4)
    assert "1 of 1 pass" in repr(shown) and "mean_loss" in shown._repr_html_()


def test_progress_shows_every_exercise_before_the_first_check(capsys):
    assert {row.exercise for row in progress().rows} >= {"mean_loss", *PRETRAINING}
    assert all(row.best is None for row in progress().rows)
    assert cli.main(["progress", "01_pretraining"]) == 0
    text = capsys.readouterr().out
    assert f"0 of {len(PRETRAINING)} pass" in text and "mean_loss" not in text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[1, 2]",
        b"null",
        b"\xff\xfe",
        b'{"mean_loss": 3}',
        b'{"mean_loss": {"best": "all", "last": []}}',
        b'{"mean_loss": {"best": null, "last": null}}',
        b'{"mean_loss": {"best": NaN, "last": 1e999}}',
        b'{"no_such_exercise": {"best": 1.0, "last": 1.0}}',
    ],
)
def test_a_damaged_progress_file_never_stops_a_check(content, progress_file):
    progress_file.parent.mkdir(parents=True)
    progress_file.write_bytes(content)
    assert repr(progress()) and progress()._repr_html_()
    check("mean_loss", torch.mean)
    assert next(row.best for row in progress().rows if row.exercise == "mean_loss") == 1.0


def test_a_place_that_cannot_be_written_never_stops_a_check(tmp_path, monkeypatch):
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv("COURSE_PROGRESS_FILE", str(tmp_path / "a file" / "progress.json"))
    check("mean_loss", torch.mean)
    assert progress().rows
    assert passing() == {"mean_loss"}, "what passed in this process is known all the same"


def test_a_user_without_a_home_can_check(tmp_path):
    """As in a container that is run with a user it does not know: Path.home() raises."""
    program = """if True:
        import pathlib
        def home():
            raise RuntimeError("Could not determine home directory.")
        pathlib.Path.home = home
        import torch
        from autograder import check, progress
        check("mean_loss", torch.mean)
        print(progress("00_start_here"))
    """
    environment = {name: value for name, value in os.environ.items() if name != "COURSE_PROGRESS_FILE"}
    command = [sys.executable, "-c", program]
    run = subprocess.run(
        command, cwd=tmp_path, env=environment | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
    assert re.search(r"mean_loss: (\d+) of \1 cases pass", run.stdout) and "0 of 1 pass" in run.stdout


def test_in_grading_nobodys_progress_is_shown(monkeypatch):
    """It would be that of whoever grades, in the feedback of every student."""
    record(verdict_of(torch.mean))
    monkeypatch.setenv("COURSE_GRADING_SEEDS", "123,456,789")
    for topic in (None, "00_start_here"):
        shown = progress(topic)
        assert shown.rows == []
        assert repr(shown) == shown._repr_html_()
        assert repr(shown).startswith("Progress is not shown in grading") and "\n" not in repr(shown)


# --- the report

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>&\"'</div>"


class Tags(html.parser.HTMLParser):
    """Which tags and attributes a page holds."""

    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.open = set(), set(), []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attributes}
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes nothing"


class Hostile:
    def __repr__(self):
        return HOSTILE


def hostile_text(losses):
    return HOSTILE


def hostile_object(losses):
    return Hostile()


def hostile_message(losses):
    raise ValueError(HOSTILE)


def hostile_type(losses):
    raise type(HOSTILE, (Exception,), {})(HOSTILE)


@pytest.mark.parametrize("answer", [hostile_text, hostile_object, hostile_message, hostile_type])
def test_nothing_a_student_writes_becomes_markup(answer):
    verdict = verdict_of(answer)
    page = to_html(verdict, 4)
    tags = Tags()
    tags.feed(page)
    assert tags.open == [], "every tag is closed"
    assert tags.tags <= {"div", "span", "table", "tr", "td", "code", "details", "summary"}
    assert tags.attributes <= {"style"}
    assert "alert(1)" in page, "it is shown, as text"
    assert HOSTILE not in page


def test_a_stopped_answer_and_a_problem_are_escaped_too():
    records = [
        {"case": case.name, "seed": seed, "stopped": {"reason": "time", "sentence": HOSTILE}}
        for case in find_exercise("mean_loss").cases
        for seed in PUBLIC_SEEDS
    ]
    evidence = {"version": 1, "exercise": "mean_loss", "records": records}
    oracle = key.load_key("00_start_here")
    for verdict in (
        judge_evidence("mean_loss", evidence, oracle, PUBLIC_SEEDS),
        judge_evidence("mean_loss", None, oracle, PUBLIC_SEEDS, problem=HOSTILE),
    ):
        tags = Tags()
        tags.feed(to_html(verdict))
        assert not tags.tags & {"script", "img"}


def stub(losses):
    raise NotImplementedError("Replace this line with your answer.")


def test_what_is_folded_away_shows_that_it_opens():
    """Also where a page's own style makes a summary a block, which takes its triangle: an inline style is stronger."""
    page = to_html(verdict_of(stub_that_fails))
    summaries = page.split("<summary ")[1:]
    assert summaries, "a second failing case is folded away"
    assert all("display:list-item" in summary.partition(">")[0] for summary in summaries)


def stub_that_fails(losses):
    return "no number"


@pytest.mark.parametrize("answer", [torch.mean, wrong, stub, hostile_message])
def test_text_and_html_say_the_same(answer):
    verdict = verdict_of(answer)
    text, page = to_text(verdict, 4), to_html(verdict, 4)
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    shown = [case.sentence for case in verdict.cases] if not verdict.unanswered else []
    for sentence in [verdict.exercise, *shown]:
        assert sentence in text and sentence in page
    assert ("✓" in page) == any(case.passed for case in verdict.cases)
    assert ("points" in text) and ("points" in page)


def test_the_progress_table_is_the_same_in_text_and_html():
    record(verdict_of(wrong))
    rows = progress().rows
    for shown in (progress_text(rows, {}), progress_html(rows, {})):
        assert all(row.exercise in shown for row in rows)
        assert "◐" in shown and "○" in shown
