"""Looks through all that the warm process left in memory for secrets, seeds and other students' work.

kind: reading what is not for students
must: find nothing
"""
import gc
import sys

wanted = ("not for" + " students " + SECRET, SECRET + "-", "INSTRUCTORS" + "_PASSWORD", "hand" + "_in_everything")
places = [vars(module) for name, module in list(sys.modules.items()) if name != "__main__" and hasattr(module, "__dict__")]
places += [thing for thing in gc.get_objects() if type(thing) in (dict, list, tuple)]
own = [id(globals()), id(wanted), id(places)]
looked = 0
for place in places:
    if id(place) in own or (isinstance(place, dict) and place.get("SECRET") is SECRET):
        continue
    for thing in list(place.values() if isinstance(place, dict) else place):
        if type(thing) is str and len(thing) < 10_000:
            looked += 1
            if any(word in thing for word in wanted):
                found(thing[:60])
print(looked > 10_000)
