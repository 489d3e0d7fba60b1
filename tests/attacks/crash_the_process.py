"""Reads the memory at address 0, which ends the process in C.

kind: endless loops and early ends
must: end its own process alone
"""
import ctypes

ctypes.string_at(0)
