"""Looks for the seeds before the check cell that uses them: environment, memory of modules, parents.

kind: reading what is not for students
must: find nothing
"""
import gc
import os

if os.environ.get("COURSE_GRADING_SEEDS"):
    found(os.environ["COURSE_GRADING_SEEDS"])
for process in [p for p in os.listdir("/proc") if p.isdigit()]:
    for file in ("environ", "cmdline"):
        try:
            text = open(f"/proc/{process}/{file}", "rb").read()
        except OSError:
            continue
        if SEED.encode() in text:
            found(f"{process} {file}")
for thing in gc.get_objects():
    if isinstance(thing, dict) and any(v == SEED for k, v in list(thing.items()) if k != "SEED" and isinstance(v, str)):
        if thing is not globals() and thing.get("SEED") != SEED:
            found("in memory")
