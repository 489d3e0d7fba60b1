"""Answers that hang, hoard memory or end the process: each costs its own case, and the others still run."""

import ctypes
import os
import signal
import sys
import threading
import time

import pytest
import torch

from autograder.evidence import PUBLIC_SEEDS, collect, collect_limited, collect_quickly, run_case
from autograder.exercise import Exercise, find_exercise
from autograder.judging.judge import judge_evidence
from autograder.judging.reference import Reference
from autograder.limits import CAN_FORK, Limits, Stopped, stream

pytestmark = pytest.mark.skipif(not CAN_FORK, reason="limits need fork")

LIMITS = Limits(seconds=1.0, memory_mb=512)
PATIENT = Limits(seconds=60.0, memory_mb=512)  # where it is not the time that shall run out, however busy the machine
CASES = [
    "three_losses",
    "one_loss",
    "a_table_of_losses",
]  # of mean_loss; `one_loss` is where the answers below go wrong


@pytest.fixture(scope="module", autouse=True)
def torch_is_warm():
    torch.ones(3).mean()


def wrong_in_the_second_case(trouble):
    """A right answer, except that for a single loss it does `trouble`."""

    def answer(losses):
        if losses.numel() == 1:
            trouble()
        return losses.mean()

    return answer


def hang():
    while True:
        pass


def hang_deaf_to_signals():
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
    hang()


def hang_in_a_thread_that_is_waited_for():
    thread = threading.Thread(target=hang)
    thread.start()
    thread.join()


def hoard_lists():
    hoard = []
    while True:
        hoard.append([0] * 10**6)


def hoard_tensors():
    torch.empty(2**40, dtype=torch.float32).fill_(1)


def recurse():
    recurse()


TROUBLE = {
    "an endless loop": (hang, "within 1 seconds. Is there an endless loop?"),
    "an endless loop that ignores signals": (hang_deaf_to_signals, "endless loop?"),
    "an endless thread": (hang_in_a_thread_that_is_waited_for, "endless loop?"),
    "a nap": (lambda: time.sleep(100), "endless loop?"),
    "lists without end": (hoard_lists, "more memory"),
    "a tensor too large": (hoard_tensors, "more memory"),
    "os._exit": (lambda: os._exit(3), "ended the Python process (exit code 3)"),
    "os._exit(0)": (lambda: os._exit(0), "ended the Python process (exit code 0)"),
    "a segmentation fault": (lambda: ctypes.string_at(0), "crashed the Python process (SIGSEGV)"),
    "abort": (os.abort, "crashed the Python process (SIGABRT)"),
    "sys.exit": (lambda: sys.exit(1), "SystemExit"),
    "recursion without end": (recurse, "RecursionError"),
}


@pytest.mark.parametrize("trouble, sentence", TROUBLE.values(), ids=TROUBLE)
def test_trouble_costs_its_own_case(trouble, sentence):
    started = time.monotonic()
    limits = LIMITS if "endless loop?" in sentence else PATIENT
    evidence = collect_limited(find_exercise("mean_loss"), wrong_in_the_second_case(trouble), PUBLIC_SEEDS, limits)
    verdict = judge_evidence("mean_loss", evidence, Reference("00_start_here"), PUBLIC_SEEDS)
    assert [(case.name, case.passed) for case in verdict.cases[:3]] == list(zip(CASES, [True, False, True]))
    assert sentence in verdict.cases[1].problem
    assert time.monotonic() - started < 20
    assert verdict.score == pytest.approx(3 / 4)


def test_without_trouble_limits_change_nothing():
    exercise = find_exercise("mean_loss")
    assert collect_limited(exercise, torch.mean, PUBLIC_SEEDS, LIMITS) == collect(exercise, torch.mean, PUBLIC_SEEDS)


def test_quickly_the_same_comes_unheard_and_this_process_is_as_it_was(capfd):
    import resource

    def loud(losses):
        print("heard")
        return losses.mean()

    handler, memory = signal.getsignal(signal.SIGALRM), resource.getrlimit(resource.RLIMIT_AS)
    exercise = find_exercise("mean_loss")
    assert collect_quickly(exercise, loud, PUBLIC_SEEDS, LIMITS) == collect(exercise, torch.mean, PUBLIC_SEEDS)
    assert (signal.getsignal(signal.SIGALRM), resource.getrlimit(resource.RLIMIT_AS)) == (handler, memory)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("trouble", [hoard_tensors, lambda: sys.exit(1), recurse], ids=["memory", "sys.exit", "recursion"])
def test_quickly_what_an_answer_raises_costs_its_own_case(trouble):
    evidence = collect_quickly(find_exercise("mean_loss"), wrong_in_the_second_case(trouble), PUBLIC_SEEDS, PATIENT)
    verdict = judge_evidence("mean_loss", evidence, Reference("00_start_here"), PUBLIC_SEEDS)
    assert [(case.name, case.passed) for case in verdict.cases[:3]] == list(zip(CASES, [True, False, True]))


def test_quickly_an_answer_that_hangs_ends_its_process():
    def quickly():
        yield collect_quickly(find_exercise("mean_loss"), wrong_in_the_second_case(hang), PUBLIC_SEEDS, LIMITS)

    (stopped,) = stream(quickly, PATIENT)
    assert stopped.reason == "died" and "SIGALRM" in stopped.sentence


def test_what_probes_need_is_loaded_before_the_clock_starts(tmp_path, monkeypatch):
    """A library that takes seconds to import, imported in the child of every case, would use up a right answer's time."""
    (tmp_path / "slow_to_load.py").write_text("import time\ntime.sleep(1.5)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("autograder.exercise._registry", {})
    patient = Exercise("patient", "00_start_here", "none", needs=("slow_to_load",))

    @patient.case
    def loads(answer, seed):
        """It loads what it needs."""
        import slow_to_load  # noqa: F401

        return {"value": answer(seed)}

    assert "data" in collect_limited(patient, float, (1,), LIMITS)["records"][0]
    patient.needs = ()
    sys.modules.pop("slow_to_load")
    assert "stopped" in collect_limited(patient, float, (1,), LIMITS)["records"][0], "else this test shows nothing"


def test_an_answer_that_always_hangs_is_given_up():
    started = time.monotonic()
    evidence = collect_limited(
        find_exercise("causal_lm_loss"), lambda *given: hang(), PUBLIC_SEEDS, Limits(seconds=0.3, memory_mb=512)
    )
    verdict = judge_evidence("causal_lm_loss", evidence, Reference("01_pretraining"), PUBLIC_SEEDS)
    assert verdict.score == 0 and all(case.problem for case in verdict.cases)
    assert "the cases before it used up the time" in verdict.cases[-2].problem
    assert time.monotonic() - started < 10


def test_what_an_answer_starts_dies_with_it(tmp_path):
    """A child of the child, left behind, must not go on working."""
    note = tmp_path / "still alive"

    def leave_somebody_behind():
        if os.fork() == 0:
            time.sleep(1.5)
            note.write_text("yes")
            os._exit(0)
        os._exit(0)

    collect_limited(find_exercise("mean_loss"), wrong_in_the_second_case(leave_somebody_behind), (1,), LIMITS)
    time.sleep(2)
    assert not note.exists()


def test_what_an_answer_prints_is_not_heard(capfd):
    def answer(losses):
        print("noise")
        print("noise", file=sys.stderr)
        return losses.mean()

    evidence = collect_limited(find_exercise("mean_loss"), answer, (1,), LIMITS)
    assert all("data" in record for record in evidence["records"])
    assert "noise" not in "".join(capfd.readouterr())


def test_rubbish_in_the_channel_ends_the_child_and_not_the_check(monkeypatch):
    channels, make_pipe = [], os.pipe

    def noted_pipe():
        channels.append(make_pipe())
        return channels[-1]

    def scribble():
        _, writer = channels[-1]
        os.write(writer, b"rubbish\n")

    monkeypatch.setattr(os, "pipe", noted_pipe)
    evidence = collect_limited(find_exercise("mean_loss"), wrong_in_the_second_case(scribble), (1,), LIMITS)
    records = {record["case"]: record for record in evidence["records"]}
    assert "stopped" in records["one_loss"] and "data" in records["three_losses"]


def test_the_parent_stays_as_it_was(monkeypatch):
    """Memory limits and seeds in the child are the child's, and no child is left."""
    import resource

    fork, children = os.fork, []

    def noted_fork():
        children.append(fork())
        return children[-1]

    monkeypatch.setattr(os, "fork", noted_fork)
    before = resource.getrlimit(resource.RLIMIT_AS)
    collect_limited(find_exercise("mean_loss"), torch.mean, (1,), LIMITS)
    assert resource.getrlimit(resource.RLIMIT_AS) == before
    assert children
    for child in children:
        with pytest.raises(ChildProcessError):
            os.waitpid(child, os.WNOHANG)


def test_messages_come_as_they_are_made():
    def slowly():
        for number in range(3):
            time.sleep(0.4)  # together longer than the limit, which is between two messages
            yield {"number": number}

    assert list(stream(slowly, Limits(seconds=0.9, memory_mb=512))) == [{"number": n} for n in range(3)]


def test_a_large_message_arrives_whole():
    assert list(stream(lambda: iter([{"text": "x" * 5_000_000}]), LIMITS)) == [{"text": "x" * 5_000_000}]


def test_a_generator_that_raises_is_a_process_that_ended():
    def fails():
        yield 1
        raise RuntimeError

    *messages, last = stream(fails, LIMITS)
    assert messages == [1] and isinstance(last, Stopped) and last.reason == "died"


def test_limits_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("COURSE_CASE_SECONDS", "2.5")
    monkeypatch.setenv("COURSE_MEMORY_MB", "123")
    assert Limits.from_environment() == Limits(2.5, 123)
    monkeypatch.delenv("COURSE_CASE_SECONDS")
    monkeypatch.delenv("COURSE_MEMORY_MB")
    assert Limits.from_environment() == Limits()


def test_a_keyboard_interrupt_is_the_readers_own():
    """In a notebook, without limits, stopping the cell stops the check."""

    def answer(losses):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_case(find_exercise("mean_loss"), find_exercise("mean_loss").cases[0], answer, 1)
