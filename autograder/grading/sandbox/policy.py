"""What a student's process may see and use. The grader decides it; nothing in a submission or a request changes it."""

import os
import sys
import sysconfig
from dataclasses import asdict, dataclass, fields
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PUBLIC = ("autograder", "course", "data")  # of this checkout: what a student installs
# Of the public part, what grading has no use for: expected values on the public seeds, and the maintainers' tools.
COVERED = ("autograder/judging/keys/*.json.gz", "autograder/workshop")
SYSTEM = ("/lib", "/lib32", "/lib64", "/libx32", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libx32")
SHARED = ("/usr/local/lib", "/usr/share/zoneinfo", "/etc/ld.so.cache", "/etc/localtime")
PACKAGES = ("site-packages", "dist-packages")  # what folders of installed packages are called
HELD_BACK = ("solutions", "classroom", ".git", "tests")  # of a checkout: in nobody's sandbox, whatever was asked for


class PolicyRefused(Exception):
    """What was asked to be visible would show what nobody may see."""


@dataclass(frozen=True)
class Policy:
    """visible: files and folders, read-only, beside the system's libraries; covered: of them, what is shown empty.

    memory_mb: of all processes together, beyond what a fresh kernel has; files_mb: all that is written, /dev/shm
    included; processes: with their threads; cpu_seconds: of one process.
    """

    visible: tuple[str, ...] = ()
    covered: tuple[str, ...] = ()
    memory_mb: int = 4096
    files_mb: int = 1024
    processes: int = 256
    cpu_seconds: int = 7200

    @classmethod
    def from_json(cls, content: dict) -> "Policy":
        """From what `as_json` gave."""
        given = {field.name: content[field.name] for field in fields(cls)}
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})

    def as_json(self) -> dict:
        """As JSON data."""
        return asdict(self)


def course_policy(also: tuple[str, ...] = (), held_back: tuple[str, ...] = (), root: Path = ROOT, **limits: int) -> Policy:
    """The policy for this course: the interpreter, its packages and the public part of the course.

    also: more that the instructor lets be seen. Raises PolicyRefused where that is, holds or lies in a place that no
    submission may see: `held_back`, the course's own such places, and a home folder as a whole. Where such a place lies in
    one that must be seen (the environment is the checkout itself), it is shown empty.
    """
    secret = [*(str(root / name) for name in HELD_BACK), *held_back]
    for path in also:
        _refuse_secret(path, [*secret, str(Path.home())])
    wanted = [*_interpreter(), *(str(root / name) for name in PUBLIC), *also]
    visible = tuple(dict.fromkeys(path for path in wanted if os.path.exists(path)))
    real = [os.path.realpath(path) for path in visible]
    covered = [str(path) for pattern in COVERED for path in sorted(root.glob(pattern))]
    for place in map(os.path.realpath, secret):
        if place in real:
            raise PolicyRefused(f"Submissions must see {place}, and what is to stay hidden from them lies there.")
        if any(place.startswith(f"{path}/") for path in real):
            covered.append(place)
    return Policy(visible=visible, covered=tuple(map(os.path.realpath, covered)), **limits)


def _interpreter() -> list[str]:
    """Where Python and its packages lie. Of an interpreter of the system's own, its libraries alone."""
    places = []
    for prefix in dict.fromkeys((sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix)):
        if prefix not in ("/", "/usr", "/usr/local"):
            places.append(prefix)
    places += [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    places += [path for path in sys.path if os.path.basename(path) in PACKAGES]  # a user's own, or another environment's
    return [path for path in places if not path.startswith(SYSTEM)]


def _refuse_secret(path: str, secret: list[str]) -> None:
    shown = Path(path).resolve()
    for place in map(Path, secret):
        hidden = place.resolve()
        inside_a_home = hidden == Path.home().resolve() and shown != hidden  # one folder of a home may be shown
        if hidden.is_relative_to(shown) or (shown.is_relative_to(hidden) and not inside_a_home):
            raise PolicyRefused(f"{path} cannot be made visible to submissions: {hidden} must stay hidden from them.")
