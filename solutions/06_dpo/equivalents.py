"""Generated changes of chapter 06's references that change nothing: exercise, change, and why."""

EQUIVALENTS = []
