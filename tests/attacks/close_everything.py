"""Closes every file the kernel has open, its sockets among them.

kind: the kernel's own machinery
must: harm itself alone
seconds: 3
"""
import os

os.closerange(0, 1024)
