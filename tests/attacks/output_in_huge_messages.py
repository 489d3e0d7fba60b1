"""Displays 60 MB at a time, as fast as it can: what the grader has not read yet waits in the grader's own memory.

kind: memory, disk and what else is counted
must: be cut
seconds: 60
"""
from IPython.display import display

text = "z" * 60_000_000
for _ in range(12):
    display({"text/plain": text}, raw=True)
