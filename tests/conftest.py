"""What all tests share: the repository's root, and an environment that needs nobody's home and no network."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def pytest_configure() -> None:
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
