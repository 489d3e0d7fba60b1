"""Leaves the process at once, with a code that says success.

kind: endless loops and early ends
must: end its own process alone
"""
import os

os._exit(0)
