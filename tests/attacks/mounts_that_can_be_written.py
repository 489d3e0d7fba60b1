"""Reads the list of mounts: each is read-only or private, and none gives devices or rights of other users.

kind: writing for others
must: find nothing
"""
import os

private = ("/tmp", "/dev/shm")
for line in open("/proc/self/mountinfo"):
    before, _, behind = line.partition(" - ")
    place, options = before.split()[4], set(before.split()[5].split(","))
    if "rw" in options and place not in private and not place.startswith("/dev/"):
        found(line)
    if not place.startswith("/dev/") and not {"nosuid", "nodev"} <= options:
        found(line)
    if any(hidden in line for hidden in (TARGETS["classroom"], TARGETS["solutions"], "/.git")):
        found(line)
for top, folders, _ in os.walk("/", followlinks=False):
    folders[:] = [name for name in folders if os.path.join(top, name) not in ("/proc", *private)]
    if top.count("/") > 3:
        folders.clear()
    if os.access(top, os.W_OK) and top not in private:
        found(f"{top} can be written")
