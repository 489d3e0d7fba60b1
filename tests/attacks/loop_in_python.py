"""Loops without an end, in plain Python.

kind: endless loops and early ends
must: be stopped for time
seconds: 3
"""
while True:
    pass
