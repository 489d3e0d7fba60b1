"""Changes in chapter 08's reference that no promise of the page can tell from it, with the reason why."""

EQUIVALENTS = []
