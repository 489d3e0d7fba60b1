"""Prints 100 MB, then displays an output of a size that no page can hold.

kind: memory, disk and what else is counted
must: be cut
"""
from IPython.display import display

for _ in range(100):
    print("x" * 10**6)
display({"text/plain": "y" * 10**7}, raw=True)
