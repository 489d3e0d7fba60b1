"""Looks through all that the warm process left in memory for secrets, seeds and other students' work.

kind: reading what is not for students
must: find nothing
"""
import gc
import sys
import types

wanted = [SECRET, "not for" + " students"]
seen, todo = set(), [module.__dict__ for name, module in list(sys.modules.items()) if name != "__main__" and module]
todo += [thing for thing in gc.get_objects() if isinstance(thing, (dict, list, tuple))]
own = {id(globals()), id(get_ipython().user_ns), id(wanted)}
for thing in todo:
    if id(thing) in seen or id(thing) in own:
        continue
    seen.add(id(thing))
    try:
        inside = list(thing.values()) if isinstance(thing, dict) else list(thing)
    except RuntimeError:
        continue
    if inside and thing is not wanted and not any(one is globals() for one in inside):
        for one in inside:
            if isinstance(one, (str, bytes)) and len(one) < 2000 and "TARGETS" not in str(one):
                text = one if isinstance(one, str) else one.decode("latin-1")
                if any(word in text for word in wanted) and "attempt(" not in text and one is not SECRET:
                    found(text[:60])
