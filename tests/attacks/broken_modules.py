"""Breaks what everything stands on: builtins, json, os, torch's functions, the import of anything.

kind: the kernel's own machinery
must: harm itself alone
seconds: 3
"""
import builtins
import json
import os
import sys

import torch

json.dumps = json.loads = os.getcwd = torch.equal = torch.tensor = None
torch.set_default_dtype(torch.float64)
sys.meta_path.clear()
sys.path_hooks.clear()
sys.path.clear()
builtins.len = builtins.isinstance = None
