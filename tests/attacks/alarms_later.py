"""Sets timers that raise errors in whatever cell runs next.

kind: processes, signals and threads
must: find nothing
"""
import signal


def ring(*_):
    raise RuntimeError("a timer of an earlier cell")


for number in (signal.SIGVTALRM, signal.SIGPROF):
    signal.signal(number, ring)
signal.setitimer(signal.ITIMER_VIRTUAL, 1000)
signal.setitimer(signal.ITIMER_PROF, 1000)
