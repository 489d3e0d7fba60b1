"""Calls everything that ends a session: exit, quit, sys.exit, SystemExit, and the kernel's own end.

kind: endless loops and early ends
must: find nothing
"""
import sys

exit()
quit()
get_ipython().ask_exit()
for leave in (sys.exit, exit, quit, lambda: get_ipython().run_line_magic("exit", "")):
    try:
        leave()
    except (SystemExit, AttributeError):
        pass
    except BaseException as error:
        print(type(error).__name__[:0])
raise SystemExit(0)
