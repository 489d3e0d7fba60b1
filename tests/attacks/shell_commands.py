"""Runs programs: a shell, those that lend rights, those that look about, and one of its own making.

kind: reading what is not for students
must: find nothing
"""
import os
import subprocess
import sys

for command in "sudo -n id, su -c id, mount, docker ps, git log, ssh -V, curl -V, cat /etc/shadow, crontab -l".split(", "):
    attempt(command, lambda c=command: subprocess.run(c.split(), capture_output=True, timeout=5).returncode == 0 or None)
attempt("a shell", lambda: SECRET in "".join(get_ipython().getoutput(f"cat {TARGETS['gradebook']}")) or None)
with open("/tmp/mine", "w") as file:
    file.write("#!" + sys.executable + "\nprint(1)\n")
os.chmod("/tmp/mine", 0o6755)
attempt("a program of its own", lambda: subprocess.run(["/tmp/mine"], capture_output=True, timeout=10).returncode == 0 or None)
code = f"import os; print(os.path.exists({TARGETS['gradebook']!r}), os.environ.get('HF_TOKEN'), os.getuid())"
said = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, timeout=30).stdout
if said and said != f"False None {os.getuid()}\n":
    found(said)
