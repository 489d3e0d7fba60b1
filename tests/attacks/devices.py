"""Opens devices: disks, memory, terminals, graphics, virtual machines; makes some of its own; types into a terminal.

kind: network, sockets and devices
must: find nothing
"""
import fcntl
import os

allowed = {"null", "zero", "full", "random", "urandom", "fd", "stdin", "stdout", "stderr", "shm"}
for name in set(os.listdir("/dev")) - allowed:
    found(f"/dev/{name}")
names = "mem kmem kmsg port kvm fuse vda sda loop0 loop-control tty ptmx console nvidia0 dri/card0 net/tun vsock userfaultfd"
for name in names.split():
    attempt(name, lambda n=name: os.open(f"/dev/{n}", os.O_RDONLY))
for kind, number in ((0o20666, os.makedev(1, 1)), (0o60666, os.makedev(254, 0)), (0o20666, os.makedev(10, 229))):
    for place in ("/tmp/d", "/dev/shm/d"):
        attempt(f"made {place}", lambda k=kind, n=number, p=place: os.mknod(p, k, n) or True)
attempt("a terminal of its own", os.openpty)
for file in (0, 1, 2):
    attempt("typed into the terminal", lambda f=file: fcntl.ioctl(f, 0x5412, b"x"))
