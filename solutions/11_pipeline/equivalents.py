"""Generated changes of chapter 11's references that change nothing: exercise, change, and why."""

EQUIVALENTS = []
