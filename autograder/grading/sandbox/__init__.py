"""What a student's process may see and do: nothing of the machine but what an answer needs.

policy      what is visible and how much may be used: decided by the grader, before anything of a student's is read
enter       a process goes into its sandbox, for good: the order of the steps, and why
places      its file system: an allow-list of read-only places and one private folder with a size
seccomp     system calls that no answer needs are refused
landlock    the file system once more, by other means, where the kernel has them
calls       the system calls that Python has no function for
watch       seen from outside: what all its processes use together
doctor      which sandbox this machine can give, and why not

Nothing here is ever silently weaker than what was asked for: what cannot be had is a `SandboxRefused` with a sentence.
"""

from autograder.grading.sandbox.calls import SandboxRefused
from autograder.grading.sandbox.policy import Policy, PolicyRefused

__all__ = ["Policy", "PolicyRefused", "SandboxRefused"]
