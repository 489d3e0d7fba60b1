"""Which machine this is, and so how large a dose the notebooks take.

There are two tiers, "cpu" and "gpu". The tier is detected; the environment variable COURSE_TIER overrides it.
COURSE_DOSE overrides the dose alone: the checkpoints of the course were made on a CPU with the dose of a GPU, 3. A fraction
such as 0.02 is a small dose: everything runs and nothing is learned, which shows in a minute or two that all cells work.
COURSE_SEED shifts all seeds of a chapter at once (`make robust`).
"""

import math
import os

TIERS = ("cpu", "gpu")


def tier() -> str:
    """"gpu" where torch sees an accelerator, else "cpu". COURSE_TIER=cpu or COURSE_TIER=gpu decides otherwise.

    Raises ValueError if COURSE_TIER is neither, or asks for a GPU that is not there.
    """
    asked = os.environ.get("COURSE_TIER", "").strip().lower()
    if asked and asked not in TIERS:
        raise ValueError(f"COURSE_TIER is '{asked}', not one of: {', '.join(TIERS)}. Unset it to have the tier detected.")
    found = _accelerator()
    if asked == "gpu" and found is None:
        raise ValueError("COURSE_TIER asks for a GPU, but torch sees none. Unset it, or install torch built for your GPU.")
    return asked or ("cpu" if found is None else "gpu")


def device():
    """The torch.device on which this tier computes."""
    import torch

    return torch.device(_accelerator() if tier() == "gpu" else "cpu")


def dose() -> int:
    """How many times the batches of a CPU's dose: 1 in the tier "cpu", 3 in "gpu", or what COURSE_DOSE says; 1 at least.

    Raises ValueError as `updates` does.
    """
    return max(1, int(_dose()))


def updates(n: int, least: int = 1) -> int:
    """n updates in a CPU's dose: n times the dose where it is larger; fewer in a small dose, but not below `least`.

    Raises ValueError if COURSE_DOSE is neither a whole number from 1 on nor a fraction between 0 and 1.
    """
    return max(least, round(n * _dose()))


def at_most(n: int, least: int = 1) -> int:
    """n in every dose but a small one, where it is fewer, though not below `least`: for what a GPU needs no more of.

    Raises ValueError as `updates` does.
    """
    return max(least, round(n * min(1, _dose())))


def seed(n: int = 0) -> int:
    """The seed n, or another in its place where COURSE_SEED asks for a run with other luck: n + 1000 * COURSE_SEED.

    Raises ValueError if COURSE_SEED is not a whole number from 0 on.
    """
    asked = os.environ.get("COURSE_SEED", "").strip() or "0"
    if not asked.isdecimal():
        raise ValueError(f"COURSE_SEED is '{asked}', not a whole number from 0 on. Unset it for the course's own seeds.")
    return n + 1000 * int(asked)


def _dose() -> float:
    asked = os.environ.get("COURSE_DOSE", "").strip()
    if not asked:
        return 1 if tier() == "cpu" else 3
    try:
        found = float(asked)
    except ValueError:
        found = math.nan
    if not 0 < found < 1 and not (found >= 1 and found.is_integer()):
        raise ValueError(
            f"COURSE_DOSE is '{asked}', neither a whole number from 1 on nor a fraction such as 0.02. Unset it to have the "
            "dose chosen."
        )
    return found


def _accelerator() -> str | None:
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else None


def describe_machine() -> str:
    """One sentence: cores, memory, graphics card, tier."""
    import torch

    accelerator = _accelerator()
    if accelerator == "cuda":
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        card = f"{torch.cuda.get_device_name(0)} ({memory:.0f} GiB)"
    else:
        card = "an Apple GPU" if accelerator == "mps" else "no GPU"
    cores = usable_cores()
    parts = [f"{cores} CPU core{'s' if cores > 1 else ''}", f"{_memory_gib()} of memory", card]
    return f"This machine has {parts[0]}, {parts[1]} and {parts[2]}: the notebooks run in the '{tier()}' tier."


def usable_cores() -> int:
    """How many cores this process may use, which in a container is often fewer than the machine has."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows have no affinity call
        return os.cpu_count() or 1


def threads() -> int:
    """How many threads suit a model that is large enough to use them: OMP_NUM_THREADS where it is set, else all cores.

    The nano models want one: threads that wait for each other cost them more than they gain.
    """
    asked = os.environ.get("OMP_NUM_THREADS", "").strip()
    return int(asked) if asked.isdecimal() and int(asked) > 0 else usable_cores()


def _memory_gib() -> str:
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (AttributeError, ValueError, OSError):
        return "an unknown amount"
    return f"{size:.0f} GiB"
