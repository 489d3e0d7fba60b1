"""Set-up: the pins, the Makefile, and what a student installs."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from itertools import chain
from pathlib import Path
from shutil import copy2, copytree, ignore_patterns

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from autograder.workshop.setup_cell import setup_cell


def read_pins(text: str) -> dict[str, str]:
    """name -> version for each `name==version` in the text of a lock or of environment.yml."""
    found = re.findall(r"^[ -]*([A-Za-z0-9._-]+)==(\S+)$", text, flags=re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


@pytest.fixture(scope="module")
def project(root: Path) -> dict:
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def lock(root: Path) -> str:
    return (root / "requirements.lock").read_text(encoding="utf-8")


# --- The pins


def test_the_lock_is_exact_pins_and_nothing_else(lock: str) -> None:
    """No local versions (+cpu), no addresses, no paths: it must install everywhere."""
    lines = [line for line in lock.splitlines() if not line.startswith("#")]
    odd = [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9a-z.]*", line)]
    assert not odd
    assert len(read_pins(lock)) == len(lines), "a package is pinned twice"


def test_environment_yml_names_the_same_pins(root: Path, lock: str) -> None:
    environment = (root / "environment.yml").read_text(encoding="utf-8")
    assert read_pins(environment) == read_pins(lock), "run `make lock`: environment.yml is made from the lock"


def test_environment_yml_asks_for_a_python_that_the_project_admits(root: Path, project: dict) -> None:
    environment = (root / "environment.yml").read_text(encoding="utf-8")
    (python,) = re.findall(r"^  - python=(\S+)$", environment, flags=re.MULTILINE)
    assert Version(python) in Requirement(f"python{project['requires-python']}").specifier


def test_every_range_of_pyproject_holds_its_pin(project: dict, lock: str) -> None:
    pinned = read_pins(lock)
    asked = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    for requirement in map(Requirement, asked):
        name = canonicalize_name(requirement.name)
        assert name in pinned, f"{name} is in pyproject.toml and not in requirements.lock: run `make lock`"
        assert Version(pinned[name]) in requirement.specifier, f"{requirement} does not hold {pinned[name]}"
        assert any(s.operator == ">=" for s in requirement.specifier), f"{requirement} has no lower end"


def test_what_runs_these_tests_is_what_is_pinned(root: Path, lock: str) -> None:
    """Where make made the environment, its versions are the pins. Elsewhere (in Colab) they may differ."""
    if Path(sys.prefix) != root / ".venv" or not (root / ".venv" / ".set-up").exists():
        pytest.skip("these tests run in an environment that make did not make")
    from importlib.metadata import version

    pins = {name: Version(pin) for name, pin in read_pins(lock).items()}
    installed = {name: Version(Version(version(name)).public) for name in pins}
    assert installed == pins


# --- The Makefile


def make(root: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["make", *arguments],
        cwd=root,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture
def bare_copy(root: Path, tmp_path: Path) -> Path:
    """A folder with what set-up reads and no environment yet."""
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        copy2(root / name, tmp_path / name)
    return tmp_path


def fake_python(folder: Path, body: str) -> Path:
    """A command that stands for another machine's Python; `body` finds what it was asked in sys.argv."""
    script = folder / "some-python"
    script.write_text(f"#!{sys.executable}\nimport sys\n{body}\n", encoding="utf-8")
    script.chmod(0o755)
    return script


def test_make_alone_says_what_there_is_and_sets_up_nothing(bare_copy: Path) -> None:
    said = make(bare_copy)
    assert said.returncode == 0, said.stderr
    for target in ("lab", "test", "lint", "release", "demo", "bench"):
        assert f"make {target}" in said.stdout
    assert not (bare_copy / ".venv").exists()


def test_a_python_too_old_is_told_so(bare_copy: Path) -> None:
    older = "sys.version, sys.version_info = '3.9.18 (main)', (3, 9, 18)"
    python = fake_python(bare_copy, f"{older}\nexec(sys.argv[2])")
    said = make(bare_copy, "lab", f"PYTHON={python}")
    assert said.returncode != 0
    assert "needs Python 3.11 or newer" in said.stderr
    assert "3.9.18" in said.stderr
    assert not (bare_copy / ".venv").exists()


def test_a_missing_python_is_told_so(bare_copy: Path) -> None:
    said = make(bare_copy, "test", "PYTHON=python-of-nowhere")
    assert said.returncode != 0
    assert "no command 'python-of-nowhere'" in said.stderr


def test_a_missing_venv_module_is_told_so(bare_copy: Path) -> None:
    """Debian's python3 without python3-venv: the import of ensurepip fails."""
    python = fake_python(bare_copy, "sys.modules['ensurepip'] = None\nexec(sys.argv[2])")
    said = make(bare_copy, "lab", f"PYTHON={python}")
    assert said.returncode != 0
    assert "python3-venv" in said.stderr
    assert not (bare_copy / ".venv").exists()


def test_pip_that_fails_is_explained_and_leaves_no_stamp(bare_copy: Path) -> None:
    """A pip that finds no package, as without a network."""
    said = make(
        bare_copy, "lab", f"PYTHON={sys.executable}", "TORCH=torch==2.13.0",
        PIP_NO_INDEX="1", PIP_FIND_LINKS=str(bare_copy / "nothing"), PIP_CONFIG_FILE=os.devnull,
    )
    assert said.returncode != 0
    assert "The packages could not be installed" in said.stderr
    assert not (bare_copy / ".venv" / ".set-up").exists()


def test_set_up_is_done_once_and_again_when_the_pins_change_or_the_folder_moves(bare_copy: Path) -> None:
    stamp = bare_copy / ".venv" / ".set-up"
    stamp.parent.mkdir()
    stamp.write_text(str(bare_copy))
    asked = ("--question", "setup")  # exit code 0: there is nothing to do; 1: there is

    newest = stamp.stat().st_mtime
    for name in ("requirements.lock", "pyproject.toml"):
        os.utime(bare_copy / name, (newest - 10, newest - 10))
    assert make(bare_copy, *asked).returncode == 0
    for name in ("requirements.lock", "pyproject.toml"):
        os.utime(bare_copy / name, (newest + 10, newest + 10))
        assert make(bare_copy, *asked).returncode == 1, name
        os.utime(bare_copy / name, (newest - 10, newest - 10))
    stamp.write_text("/where/it/was/before")
    assert make(bare_copy, *asked).returncode == 1


MAKES_ENVIRONMENTS = """
import os, shutil
if sys.argv[1] == "-c":
    exec(sys.argv[2])
elif sys.argv[1:3] == ["-m", "venv"]:
    os.makedirs(".venv/bin")
    shutil.copy(__file__, ".venv/bin/python")
elif sys.argv[1:3] == ["-m", "jupyterlab"]:
    print("SERVING", os.environ["PATH"].split(os.pathsep)[0], os.environ.get("MPLBACKEND"), *sys.argv[3:], sep="\\n")
"""


@pytest.mark.parametrize("name", ["it's mine", "courses [2026] (copy), both", 'a "quoted" name & more'])
def test_what_a_folder_is_called_does_not_matter(bare_copy: Path, tmp_path: Path, name: str) -> None:
    """From set-up to the lab, with a Python that only says what it would do."""
    folder = tmp_path / name
    folder.mkdir()
    for file in ("Makefile", "requirements.lock", "pyproject.toml"):
        copy2(bare_copy / file, folder / file)
    python = fake_python(tmp_path, MAKES_ENVIRONMENTS)
    said = make(folder, "setup", f"PYTHON={python}")
    assert said.returncode == 0, said.stderr
    assert (folder / ".venv" / ".set-up").read_text() == str(folder)
    assert make(folder, "--question", "setup").returncode == 0, "it is set up, and known to be"
    said = make(folder, "lab", MPLBACKEND="agg")
    assert said.returncode == 0, said.stderr
    path, backend, *options = said.stdout.partition("SERVING\n")[2].splitlines()
    assert (path, backend) == (str(folder / ".venv" / "bin"), "None"), "a backend for scripts hides plots"
    assert any("00_start_here.ipynb" in option for option in options)


def test_ci_calls_the_command_that_the_readme_names(root: Path) -> None:
    lines = (root / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert lines[-1].split()[:2] == ["make", "test"]
    assert f"\n{lines[-1]} " in (root / "README.md").read_text(encoding="utf-8")
    assert os.access(root / ".ci" / "run", os.X_OK)


# --- What a student installs


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy (building leaves folders behind that the next one would pack again)."""
    copy = tmp_path_factory.mktemp("source")
    for path in root.iterdir():
        if path.is_dir() and path.name in ("course", "autograder", "data", "solutions", "tests"):
            copytree(path, copy / path.name, ignore=ignore_patterns("__pycache__", ".ipynb_checkpoints"))
        elif path.is_file():
            copy2(path, copy / path.name)
    into = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    run = subprocess.run([*command, "-w", str(into), str(copy)], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr[-3000:]
    (built,) = into.glob("*.whl")
    return built


def test_the_wheel_holds_the_packages_and_what_they_read(root: Path, wheel: Path) -> None:
    packed = set(zipfile.ZipFile(wheel).namelist())
    for package in ("course", "autograder", "data"):
        modules = {
            p.relative_to(root).as_posix()
            for p in (root / package).rglob("*.py")
            if "workshop" not in p.parts
            and all((d / "__init__.py").exists() for d in p.parents if d.is_relative_to(root / package))
        }
        assert modules <= packed, f"not packed: {sorted(modules - packed)}"
        assert modules, f"{package}/ holds no module"
    keys = root.glob("autograder/judging/keys/**/*.gz")
    read = [*keys, *(p for p in (root / "data").rglob("*") if p.is_file())]
    named = {p.relative_to(root).as_posix() for p in read}
    wanted = {name for name in named if not re.search(r"/__pycache__/|/\.", name)}
    assert wanted <= packed, f"not packed: {sorted(wanted - packed)}"


def test_the_wheel_holds_nothing_of_the_instructors(root: Path, wheel: Path) -> None:
    packed = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in packed}
    assert {t for t in tops if not t.endswith(".dist-info")} == {"course", "autograder", "data"}
    instructors = {p.name for p in (root / "solutions").rglob("*.py")}
    assert instructors, "there are no solutions here to look for"
    assert not [name for name in packed if Path(name).name in instructors]
    assert not [name for name in packed if name.startswith("autograder/workshop/")], "maintainers' tools"


def test_the_wheel_can_be_used_where_there_is_nothing_else(wheel: Path, tmp_path: Path) -> None:
    """Installed into a folder of its own, run from elsewhere, isolated from this checkout."""
    target = tmp_path / "installed"
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", str(target)]
    subprocess.run([*command, str(wheel)], check=True, capture_output=True, timeout=120)
    program = f"""if True:
        import sys
        sys.path.insert(0, {str(target)!r})
        import course, autograder, data
        from autograder.cli import main
        for package in (course, autograder, data):
            assert package.__file__.startswith({str(target)!r}), package.__file__
        main(["progress"])
    """
    isolated = [sys.executable, "-I", "-c", program]
    run = subprocess.run(isolated, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr[-3000:]


def test_the_wheel_names_no_address(wheel: Path) -> None:
    """Where the course can be had, `make publish` alone says, in the notebooks."""
    with zipfile.ZipFile(wheel) as packed:
        (metadata,) = (name for name in packed.namelist() if name.endswith(".dist-info/METADATA"))
        head = packed.read(metadata).decode().partition("\n\n")[0]
    assert "Name: " in head and "://" not in head


def test_the_set_up_cell_installs_the_wheel(wheel: Path, tmp_path: Path) -> None:
    """The real cell and the real pip, told by their environment variables to need no network. -S: nothing is installed here."""
    told = {"PIP_TARGET": str(tmp_path / "installed"), "PIP_NO_DEPS": "1", "PIP_NO_INDEX": "1", "COURSE_SOURCE": wheel.name}
    run = subprocess.run(
        [sys.executable, "-I", "-S", "-c", setup_cell(None).source],
        cwd=wheel.parent, env=os.environ | told, capture_output=True, text=True, timeout=120,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert (tmp_path / "installed" / "autograder" / "__init__.py").exists()


def test_both_licences_are_in_the_wheel(wheel: Path) -> None:
    packed = zipfile.ZipFile(wheel).namelist()
    assert {Path(n).name for n in packed if ".dist-info/licenses/" in n} == {"LICENSE", "LICENSE-TEXT"}
