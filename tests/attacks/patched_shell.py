"""Replaces what runs cells and what displays: no later cell does what it says.

kind: the kernel's own machinery
must: harm itself alone
seconds: 3
"""
import IPython

shell = get_ipython()
shell.display_pub.publish = shell.displayhook.__class__.__call__ = lambda *_, **__: None
IPython.display.display = IPython.core.display_functions.display = lambda *_, **__: None
shell.run_cell = shell.run_cell_async = None
