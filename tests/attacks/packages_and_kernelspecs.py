"""Changes what the next kernel is made of: the environment's packages, their compiled files, kernelspecs, settings.

kind: writing for others
must: find nothing
"""
import glob
import importlib.util
import os
import site
import sys
import sysconfig

import autograder
import IPython
import torch

folders = {sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib", "scripts", "data", "include")}
folders |= {*site.getsitepackages(), f"{sys.prefix}/share/jupyter/kernels/python3", f"{sys.prefix}/etc/jupyter"}
folders |= {f"{sys.prefix}/etc/ipython/startup", "/usr/local/share/jupyter/kernels/python3", "/etc/jupyter", "/etc/ipython"}
folders |= {TARGETS["checkout"] + "/" + name for name in ("autograder", "course", "data", "solutions", "tests")}
if not TARGETS["checkout"].startswith("/tmp/"):  # there a folder of this name is the kernel's own, and gone with it
    folders.add(TARGETS["checkout"])
for folder in folders:
    for name in ("sitecustomize.py", "usercustomize.py", "left.pth", "kernel.json", "nbgrader_config.py", "tiny_probes.py"):
        attempt(f"{folder}/{name}", lambda p=f"{folder}/{name}": open(p, "w"))
for module in (autograder, IPython, torch, os):
    compiled = importlib.util.cache_from_source(module.__file__)
    for path in (module.__file__, compiled, *glob.glob(os.path.dirname(module.__file__) + "/lib/*.so")[:3]):
        attempt(f"wrote {path}", lambda p=path: open(p, "r+b"))
        attempt(f"replaced {path}", lambda p=path: os.replace("/tmp/x", p) or True if open("/tmp/x", "w") else None)
        attempt(f"truncated {path}", lambda p=path: os.truncate(p, 0) or True)
        attempt(f"touched {path}", lambda p=path: os.utime(p) or True)
