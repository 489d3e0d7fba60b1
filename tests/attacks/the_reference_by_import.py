"""Asks the grader's own modules for what they know: references, keys, the executed notebooks, the gradebook.

kind: reading what is not for students
must: find nothing
"""
import importlib
import pathlib
import sys

for name in ("autograder.judging.reference", "autograder.judging.key", "autograder.workshop.release", "solutions"):
    attempt(f"{name} gave something", lambda n=name: importlib.import_module(n) and None)


def reference(topic):
    from autograder.judging.reference import Reference

    return Reference(topic, pathlib.Path(TARGETS["checkout"], "solutions")).points


def key(topic):
    from autograder.judging.key import load_key

    return load_key(topic)


for topic in ("01_pretraining", "02_sft", "03_lora"):
    attempt(f"reference of {topic}", lambda t=topic: reference(t))
    attempt(f"key of {topic}", lambda t=topic: key(t))
for path in (TARGETS["solutions"] + "/mistakes.py", TARGETS["checkout"] + "/solutions/01_pretraining/01_pretraining.py"):
    attempt(f"exec of {path}", lambda p=path: exec(open(p).read()) or True)
    spec = importlib.util.spec_from_file_location("stolen", path)
    attempt(f"import of {path}", lambda s=spec: s.loader.get_data(s.origin))
sys.path[:0] = [TARGETS["solutions"], TARGETS["checkout"] + "/solutions/01_pretraining"]
attempt("mistakes", lambda: importlib.import_module("mistakes"))
attempt("alternatives", lambda: importlib.import_module("alternatives"))
