"""Leaves everything it can to the next student: files, changed modules, a patched torch, start-up files.

kind: writing for others
must: leave nothing behind
"""
import builtins
import os
import random
import sys

import torch

torch.left_behind = builtins.left_behind = sys.left_behind = True
torch.set_default_dtype(torch.float64)
random.seed(0)
os.environ["LEFT_BEHIND"] = "1"
for folder in ("/tmp", "/dev/shm", os.environ["HOME"], os.environ["IPYTHONDIR"] + "/profile_default/startup"):
    os.makedirs(folder, exist_ok=True)
    open(f"{folder}/left_behind.py", "w").write("import sys; sys.left_behind = True")
