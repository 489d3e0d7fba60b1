"""Loops inside C, where Python sees no interrupt: a sum over a count that never ends.

kind: endless loops and early ends
must: be stopped for time
seconds: 3
"""
import itertools

sum(itertools.count())
