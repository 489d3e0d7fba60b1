"""Reads the answer keys that a student's installation holds: in grading, nothing needs them.

kind: reading what is not for students
must: find nothing
"""
import pathlib

for path in pathlib.Path(TARGETS["checkout"], "autograder/judging/keys").glob("*.json.gz"):
    attempt(f"read {path}", lambda p=path: p.read_bytes() or None)
