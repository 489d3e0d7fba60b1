"""Takes more memory in one process than it may.

kind: memory, disk and what else is counted
must: find nothing
"""
hoard = []


def take():
    while len(hoard) < 10:
        hoard.append(bytearray(100 * 2**20))
    return True


attempt("1 GB", take)
hoard.clear()
