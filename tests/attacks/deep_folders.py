"""Makes folders in folders in folders, deeper than whoever clears up can name, with names of every kind.

kind: memory, disk and what else is counted
must: leave nothing behind
"""
import os

here = os.getcwd()
depth = 0
try:
    while depth < 1500:
        os.mkdir("d" * 200)
        os.chdir("d" * 200)
        depth += 1
except OSError:
    pass
os.chdir(here)
for name in (b"\xff\xfe", b"a\nb", b"-rf", b"$(reboot)", b"left_behind"):
    open(name, "w").close()
os.chmod(here, 0)
print("depth over a hundred", depth > 100)
os.chmod(here, 0o700)
