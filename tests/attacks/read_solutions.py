"""Reads the reference solutions from the checkout, by path, by import and by looking for them.

kind: reading what is not for students
must: find nothing
"""
import importlib.util
import os

for folder in (TARGETS["solutions"], TARGETS["checkout"] + "/solutions", TARGETS["checkout"] + "/.git"):
    attempt("listed " + folder, lambda f=folder: os.listdir(f))
attempt("imported", lambda: importlib.import_module("solutions"))
for top, folders, files in os.walk("/"):
    if top.startswith(("/proc", "/dev", "/usr")) or top.endswith("site-packages"):
        folders.clear()
    for name in files:
        if name.startswith(("mistakes", "alternatives", "equivalents")):
            found(f"{top}/{name}")
