"""Waits for the seeds with hooks of every kind and keeps them: what it learns it learns with its own check cell, no sooner.

kind: reading what is not for students
must: find nothing
"""
import os
import sys
import threading

seen = []


def watch(*arguments):
    if os.environ.get("COURSE_GRADING_SEEDS"):
        seen.append(os.environ["COURSE_GRADING_SEEDS"])
    return None


class Everywhere:
    def find_spec(self, name, path=None, target=None):
        return watch()


sys.settrace(watch)
sys.setprofile(watch)
threading.settrace(watch)
sys.meta_path.insert(0, Everywhere())
sys.addaudithook(watch)
for name in ("pre_execute", "pre_run_cell", "post_execute", "post_run_cell"):
    get_ipython().events.register(name, watch)
get_ipython().input_transformers_cleanup.append(lambda lines: lines)
sys.settrace(None)
sys.setprofile(None)
if seen or os.environ.get("COURSE_GRADING_SEEDS"):
    found(seen)
