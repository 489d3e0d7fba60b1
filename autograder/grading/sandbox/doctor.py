"""`autograder doctor`: which sandbox this machine can give, as root and as an ordinary user, and why not.

It tries: what is said here was done a moment ago, by processes that have ended since.
"""

import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

CONTAINER = (
    "Grade in containers of Docker or Podman: `autograder grade TOPIC --image course` (autograder/handbook/large_classes.md "
    "says how the image is made). Or grade on a Linux machine."
)
IN_A_CONTAINER = (
    "This is a container, and it must allow user namespaces: podman does; docker run --security-opt seccomp=unconfined "
    "--security-opt systempaths=unconfined --security-opt apparmor=unconfined, or --privileged."
)
HINTS = {  # what decides over user namespaces, with the value that forbids them
    "/proc/sys/kernel/unprivileged_userns_clone": ("0", "sysctl -w kernel.unprivileged_userns_clone=1"),
    "/proc/sys/kernel/apparmor_restrict_unprivileged_userns": (
        "1",
        "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu; or an AppArmor profile for this Python)",
    ),
    "/proc/sys/user/max_user_namespaces": ("0", "sysctl -w user.max_user_namespaces=10000"),
}


@dataclass(frozen=True)
class Finding:
    """What was tried, whether it is there, and a sentence where there is something to say."""

    what: str
    there: bool
    says: str = ""


def why_none() -> str:
    """Why this user can have no sandbox on this machine; '' where it can be had."""
    if sys.platform.startswith("linux"):
        refused = try_out()
        return f"{refused} {advice()}" if refused else ""
    system = {"darwin": "macOS", "win32": "Windows"}.get(sys.platform, sys.platform)
    return f"{system} has no namespaces, which it is made of. {CONTAINER}"


def examine() -> list[Finding]:
    """All that matters on this machine. The first finding is the one that counts: the sandbox as this user."""
    if not sys.platform.startswith("linux"):
        return [Finding("a sandbox", False, why_none())]
    from autograder.grading.sandbox import calls, landlock, seccomp
    from autograder.grading.sandbox.enter import NOBODY

    root = os.geteuid() == 0
    here = why_none()
    findings = [Finding("a sandbox as root" if root else "a sandbox as this user", not here, here)]
    if root:
        there = try_out(NOBODY)
        findings.append(Finding("a sandbox as an ordinary user", not there, there and f"{there} {advice()}"))
    filtered = calls.machine() in seccomp.ARCHITECTURES
    findings.append(Finding("a filter of system calls", filtered, "" if filtered else f"not made for {calls.machine()}."))
    abi = landlock.version()
    says = f"version {abi}" if abi else "this kernel has none (5.13 and later do): a second wall less, refused is nothing."
    findings.append(Finding("Landlock", abi > 0, says))
    findings.append(Finding("Linux", True, f"{platform.release()}{_container()}"))
    return findings


def try_out(user: int | None = None) -> str:
    """Enter a sandbox in a process of its own. '' where that can be had, else the sentence that says why not."""
    from autograder.grading.sandbox import enter
    from autograder.grading.sandbox.policy import course_policy

    policy = course_policy()  # here: another user may be unable to import a thing, where root's home holds this Python
    news, tell = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if user is not None:
                enter.become(user)
            enter.begin()
            if (first := os.fork()) == 0:
                enter.inside(policy)
                enter.seal()
                os._exit(0)
            os.waitpid(first, 0)
        except BaseException as error:
            os.write(tell, str(error).encode()[:4000])
        finally:
            os._exit(0)
    os.close(tell)
    with os.fdopen(news) as told:
        said = told.read()
    os.waitpid(child, 0)
    return said


def advice() -> str:
    """What on this machine forbids user namespaces, as far as files say it; else the container."""
    for path, (forbidding, remedy) in HINTS.items():
        if Path(path).exists() and Path(path).read_text().strip() == forbidding:
            return f"{path} is {forbidding}, which forbids it: as root, {remedy}."
    return IN_A_CONTAINER if _container() else "Linux 5.14 or later, with user namespaces, is needed."


def _container() -> str:
    marks = ("/.dockerenv", "/run/.containerenv")
    return ", in a container" if any(map(os.path.exists, marks)) else ""


def main() -> int:
    """Print it. Exit code 1 where this user can have no sandbox here."""
    findings = examine()
    for finding in findings:
        print(f"{'yes' if finding.there else 'NO ':<4}{finding.what}{': ' if finding.says else ''}{finding.says}")
    if findings[0].there:
        print("\nSubmissions are run in the sandbox. Not used: bubblewrap (it would import torch again for each student) and")
        print("control groups (an ordinary user has none to write to; memory is summed over a sandbox from outside).")
    else:
        print("\nNothing is graded here as it stands. COURSE_SANDBOX=off in the environment, or `nbgrader autograde ...")
        print("--Execute.sandbox=False`, grades without a sandbox: whatever is handed in then runs as you.")
    return 0 if findings[0].there else 1
