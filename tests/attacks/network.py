"""Reaches for the network in every family of addresses, for abstract sockets, and for names.

kind: network, sockets and devices
must: find nothing
"""
import socket
import urllib.request

UNIX, NETLINK = 1, 16
for family in range(64):
    if family in (UNIX, NETLINK):
        continue
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET):
        attempt(f"a socket of family {family}", lambda f=family, k=kind: socket.socket(f, k))
for protocol in range(1, 32):
    attempt(f"netlink {protocol}", lambda p=protocol: socket.socket(NETLINK, socket.SOCK_RAW, p))
attempt("the grader's port", lambda: socket.create_connection(("127.0.0.1", TARGETS["port"]), 1))
attempt("a name", lambda: socket.getaddrinfo("example.org", 80))
attempt("a page", lambda: urllib.request.urlopen("http://example.org/", timeout=1))


def abstract():
    one = socket.socket(socket.AF_UNIX)
    one.settimeout(1)
    one.connect("\0" + TARGETS["abstract"])
    return True


attempt("an abstract socket outside", abstract)
for path in (TARGETS["socket"], "/run/docker.sock", "/var/run/docker.sock", "/run/dbus/system_bus_socket"):
    attempt(path, lambda p=path: socket.socket(socket.AF_UNIX).connect(p) or True)
