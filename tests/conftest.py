"""What all tests share: the repository's root, and an environment that needs nobody's home and no network."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import attack_table
import pytest

ROOT = Path(__file__).resolve().parent.parent
WHOLE = bool(os.environ.get("COURSE_WHOLE"))  # `make test-whole`: chapters in full, all seeds
LONG = {"test_grading_runner", "test_notebooks", "test_workshop_mutants"}

# Their assertions are to show values as those of a test file do.
pytest.register_assert_rewrite("notebook_runs", "matrix")

MUTATION_SCORES = pytest.StashKey[dict[str, Counter]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[MUTATION_SCORES] = defaultdict(Counter)
    config.stash[attack_table.TABLE] = []
    # Before anything imports transformers: the tests need no model hub, so a test that asks one must fail.
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    # Plots are drawn into files, never onto somebody's screen.
    os.environ["MPLBACKEND"] = "agg"
    # One thread each, in the tests and in all that they start: the models are tiny, and two threads that wait for each
    # other on shared cores can be ten times slower than one.
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
    # What `make test JOBS=2` itself was started with must not reach a make that a test starts.
    for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
        os.environ.pop(name, None)
    if why_no_sandbox():
        os.environ["COURSE_SANDBOX"] = "off"  # all but the sandbox itself can be tested; the summary says so


@cache
def why_no_sandbox() -> str:
    """Why this machine gives no sandbox; '' where it does."""
    from autograder.grading.sandbox import doctor

    return doctor.why_none()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """`make test JOBS=2` begins with the files that take longest: one that begins last would run alone."""
    if hasattr(config, "workerinput"):
        from notebook_runs import in_full

        tests = Counter(item.path for item in items)
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        # Each of their tests is short, and all together are not.
        slow |= {path for path in tests if path.stem.endswith("_matrix") or path.stem in LONG}
        full = {f"test_c{topic[:2]}_notebook" for topic in in_full()}
        # stable: a file stays in one piece
        items.sort(key=lambda item: (item.path.stem not in full, item.path not in slow, -tests[item.path]))


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):  # a process of `make test JOBS=2`, which ends unseen
        session.config.workeroutput["mutation scores"] = {k: dict(n) for k, n in session.config.stash[MUTATION_SCORES].items()}
        session.config.workeroutput["attacks"] = session.config.stash[attack_table.TABLE]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error) -> None:
    for name, counts in getattr(node, "workeroutput", {}).get("mutation scores", {}).items():
        node.config.stash[MUTATION_SCORES][name].update(counts)
    node.config.stash[attack_table.TABLE] += getattr(node, "workeroutput", {}).get("attacks", [])


def pytest_terminal_summary(terminalreporter, config: pytest.Config) -> None:
    if reason := why_no_sandbox():
        terminalreporter.section("THE SANDBOX WAS NOT TESTED", red=True, bold=True)
        terminalreporter.line(f"Submissions were graded without one in all tests. {reason}", red=True)
    if table := attack_table.lines(config.stash[attack_table.TABLE]):
        terminalreporter.section("attacks")
        for line in table:
            terminalreporter.line(line)
    scores = config.stash[MUTATION_SCORES]
    if scores:
        terminalreporter.section("mutation matrix")
    for name, n in scores.items():
        mistakes = f"{n['killed']}/{n['mistakes']} killed, {n['recognised']}/{n['mistakes']} recognised"
        terminalreporter.line(f"{name:<24} {mistakes}, {n['accepted']}/{n['alternatives']} alternatives accepted")


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the repository."""
    return ROOT


@pytest.fixture(scope="session", autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for whatever would go to the user's home: progress, history, Jupyter's own files."""
    home = tmp_path_factory.mktemp("home")
    places = {
        "COURSE_PROGRESS_FILE": home / "progress.json",
        "IPYTHONDIR": home / "ipython",
        "JUPYTER_CONFIG_DIR": home / "jupyter-config",
        "JUPYTER_DATA_DIR": home / "jupyter-data",
        "JUPYTER_RUNTIME_DIR": home / "jupyter-runtime",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, place in places.items():
            patch.setenv(name, str(place))
        yield home
