"""Short stories whose sentences depend on one another: who is there, who holds what, and who is where.

The state of a story is kept in `Scene`, so the questions of a reading test have an answer that is known.
"""

from dataclasses import dataclass, field

from data.pen import AskedForMore, Pen, ReadingPen, finish
from data.words import ANIMALS, COLOURS, NAMES, OBJECTS, PLACES, SIZES, TIMES, pronoun

LONG = 38  # after so many words only the ending may follow, so that every story fits world.LONGEST


@dataclass
class Thing:
    colour: str
    noun: str
    holder: str  # a name, or an animal

    def __str__(self) -> str:
        return f"the {self.colour} {self.noun}"


@dataclass
class Scene:
    """What is true at this moment of the story."""

    hero: str
    place: str
    friend: str | None = None
    animal: str | None = None
    size: str | None = None
    things: list[Thing] = field(default_factory=list)
    whereabouts: dict[str, str] = field(default_factory=dict)  # person -> place
    wish: Thing | None = None  # asked for in the last sentence, not yet answered

    @property
    def people(self) -> list[str]:
        return [self.hero] if self.friend is None else [self.hero, self.friend]

    def held_by(self, holder: str) -> list[Thing]:
        return [thing for thing in self.things if thing.holder == holder]

    def other(self, person: str) -> str:
        return self.friend if person == self.hero else self.hero


def story(pen: Pen) -> None:
    """Write a story to its end, from its second word on (the first is "one")."""
    go_on(pen, opening(pen), most_events=4, ending=True)


def unfinished_story(pen: Pen, events: int) -> Scene:
    """Write a story of so many events without its last sentence ("now the red ball is with leo ..."); return the scene."""
    pen.say("one")
    scene = opening(pen)
    go_on(pen, scene, most_events=events, ending=False)
    return scene


def read_story(words: list[str]) -> Scene:
    """How things stand after the whole sentences of a story that is not finished."""
    pen = ReadingPen(words)
    pen.say("one")
    scene = opening(pen)
    try:
        go_on(pen, scene, most_events=len(words), ending=True)
    except AskedForMore:
        return scene
    raise ValueError("this story is finished: it says itself how things stand")


def go_on(pen: Pen, scene: Scene, most_events: int, ending: bool) -> None:
    events = 0
    while True:
        options = next_sentences(scene)
        if scene.friend is not None and scene.wish is None:
            if events == most_events or len(pen.words) > LONG:
                options = {}
            if events > 0 and ending:
                options["now"] = 1.0
        if not options:
            return
        first = pen.pick(options)
        if first == "now":
            close(pen, scene)
            return
        events += first not in ("then", "a")
        TELL.get(first, tell_of_person)(pen, scene)


def opening(pen: Pen) -> Scene:
    pen.pick(TIMES)
    hero = pen.pick(NAMES)
    verb = pen.pick({"went": 1.0, "was": 1.0})
    pen.say("to the" if verb == "went" else "at the")
    scene = Scene(hero, pen.pick(PLACES))
    scene.whereabouts[hero] = scene.place
    pen.say(".")
    pen.say(pronoun(hero))
    pen.pick({"had": 1.0, "found": 1.0})
    bring_thing(pen, scene, hero)
    pen.say(".")
    return scene


def bring_thing(pen: Pen, scene: Scene, holder: str) -> None:
    """ "a red ball": unlike the things already there in colour and in kind, so that "the red ball" is never ambiguous."""
    pen.say("a")
    colour = pen.pick([colour for colour in COLOURS if all(colour != thing.colour for thing in scene.things)])
    noun = pen.pick([noun for noun in OBJECTS if all(noun != thing.noun for thing in scene.things)])
    scene.things.append(Thing(colour, noun, holder))


def next_sentences(scene: Scene) -> dict[str, float]:
    """First words of the sentences that may come now, with their weights."""
    if scene.wish is not None:  # whoever was asked answers at once
        return {scene.wish.holder: 1.0}
    options: dict[str, float] = {}
    if scene.friend is None:
        options["then"] = 3.0
    if scene.animal is None:
        options["a"] = 1.0
    if scene.friend is not None:
        options.update(dict.fromkeys(scene.people, 2.0))
        if scene.animal is not None and within_reach(scene):
            options["the"] = 1.5
    return options


def within_reach(scene: Scene) -> list[Thing]:
    """What the animal, which stays where the story began, could take."""
    return [thing for thing in scene.things if scene.whereabouts.get(thing.holder) == scene.place]


def tell_of_friend(pen: Pen, scene: Scene) -> None:
    """ "then leo came with a blue kite ." """
    scene.friend = pen.pick([name for name in NAMES if name != scene.hero])
    scene.whereabouts[scene.friend] = scene.place
    pen.say("came")
    if pen.pick({"with": 1.0, "to": 1.0}) == "with":
        bring_thing(pen, scene, scene.friend)
    else:
        pen.say(f"the {scene.place} too")
    pen.say(".")


def tell_of_animal(pen: Pen, scene: Scene) -> None:
    """ "a small dog came to the park ." """
    scene.size = pen.pick(SIZES)
    scene.animal = pen.pick(ANIMALS)
    pen.say(f"came to the {scene.place} .")


def tell_of_theft(pen: Pen, scene: Scene) -> None:
    """ "the small dog took the red ball from mia and she was sad ." """
    pen.say(f"{scene.size} {scene.animal} took")
    thing = name_thing(pen, within_reach(scene))
    victim, thing.holder = thing.holder, scene.animal
    pen.say(f"from {victim} and {pronoun(victim)} was sad .")


def name_thing(pen: Pen, things: list[Thing]) -> Thing:
    """ "the red ball", one of `things`; its colour says which."""
    pen.say("the")
    colour = pen.pick([thing.colour for thing in things])
    thing = next(thing for thing in things if thing.colour == colour)
    pen.say(thing.noun)
    return thing


def tell_of_person(pen: Pen, scene: Scene) -> None:
    """What the person just named does: answer a wish, ask for a thing, give one away, or go somewhere else."""
    person = pen.words[-1]
    if scene.wish is not None:
        answer_wish(pen, scene, person)
        return
    other = scene.other(person)
    options = {"went": 1.0}
    together = scene.whereabouts[person] == scene.whereabouts[other]
    if together and scene.held_by(person):
        options["gave"] = 2.0
    if together and scene.held_by(other):
        options["said"] = 1.5
    deed = pen.pick(options)
    if deed == "gave":
        thing = name_thing(pen, scene.held_by(person))
        thing.holder = other
        pen.say(f"to {other} and {pronoun(other)} was happy .")
    elif deed == "said":
        pen.say(": please give me")
        scene.wish = name_thing(pen, scene.held_by(other))
        pen.say(".")
    else:
        pen.say("to the")
        scene.whereabouts[person] = pen.pick([place for place in PLACES if place != scene.whereabouts[person]])
        if scene.held_by(person):
            pen.say("with " + " and ".join(map(str, scene.held_by(person))))
        pen.say(".")


def answer_wish(pen: Pen, scene: Scene, owner: str) -> None:
    """ "mia said : of course , here you are ." or "mia said : sorry , it is mine ." """
    pen.say("said :")
    if pen.pick({"of": 2.0, "sorry": 1.0}) == "of":
        pen.say("course , here you are .")
        scene.wish.holder = scene.other(owner)
    else:
        pen.say(", it is mine .")
    scene.wish = None


def close(pen: Pen, scene: Scene) -> None:
    """ "now the blue kite is with the dog and the red ball is with leo . everyone went home ."

    Whom each thing is with, in any order; half the time also where somebody is.
    """
    untold = {thing.colour: thing for thing in scene.things}
    while untold:
        pen.say("the")
        thing = untold.pop(pen.pick(list(untold)))
        pen.say(f"{thing.noun} is with {named(thing.holder, scene)}")
        if untold:
            pen.say("and")
    if pen.pick([".", "and"]) == "and":
        person = pen.pick(scene.people)
        pen.say(f"is at the {scene.whereabouts[person]} .")
    if pen.pick({"everyone": 1.0, "<eos>": 1.0}) == "everyone":
        pen.say("went home .")
        finish(pen)


def named(holder: str, scene: Scene) -> str:
    """ "leo", or "the dog"."""
    return f"the {holder}" if holder == scene.animal else holder


TELL = {"then": tell_of_friend, "a": tell_of_animal, "the": tell_of_theft}
