"""Makes files and links that would matter to whoever clears up or reads them: set-user-id, other owners, links out.

kind: writing for others
must: leave nothing behind
"""
import os

open("/tmp/left_behind_suid", "w").close()
os.chmod("/tmp/left_behind_suid", 0o6777)
for owner in (0, 65534, 1001, TARGETS["grader"]):
    attempt(f"a file of {owner}", lambda o=owner: os.chown("/tmp/left_behind_suid", o, o) or True)
for number, target in enumerate((TARGETS["classroom"], TARGETS["home_file"], "/etc", "/proc/1/root")):
    os.symlink(target, f"/tmp/work/out{number}")
    attempt(f"through {target}", lambda n=number: open(f"/tmp/work/out{n}/x", "w"))
    attempt(f"removed {target}", lambda n=number: os.rename(f"/tmp/work/out{n}/..", "/tmp/gone") or True)
os.mkfifo("/tmp/left_behind_pipe")
