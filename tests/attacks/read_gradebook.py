"""Opens the gradebook, other submissions and executed notebooks, and files of the instructor's.

kind: reading what is not for students
must: find nothing
"""
import os
import sqlite3

for name in ("classroom", "gradebook", "neighbour", "home_file", "private_file", "shadow"):
    attempt(f"read {name}", lambda p=TARGETS[name]: os.listdir(p) if os.path.isdir(p) else open(p).read())
attempt("gradebook", lambda: sqlite3.connect(f"file:{TARGETS['gradebook']}?mode=rw", uri=True).execute("select 1 from grade"))
