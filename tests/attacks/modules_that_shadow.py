"""Lays modules of our names into the working folder, puts it first, and forgets the real ones.

kind: writing for others
must: find nothing
"""
import os
import sys

for name in ("random", "torch", "numpy", "json", "autograder", "IPython", "tiny_probes", "base64", "copy"):
    open(f"{name}.py", "w").write("raise RuntimeError('this is not the real one')")
os.makedirs("course", exist_ok=True)
open("course/__init__.py", "w").write("raise RuntimeError('this is not the real one')")
sys.path.insert(0, os.getcwd())
for name in list(sys.modules):
    if name.partition(".")[0] in ("random", "autograder", "tiny_probes", "base64", "course"):
        del sys.modules[name]
