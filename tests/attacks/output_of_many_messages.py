"""Displays and updates without an end: thousands of messages, where one cell should send a few.

kind: memory, disk and what else is counted
must: be cut
seconds: 20
"""
from IPython.display import display

for number in range(3000):
    display({"text/plain": "z" * 20_000}, raw=True, display_id=f"d{number}")
for _ in range(500):
    display({"text/plain": "z" * 20_000}, raw=True, display_id="d1", update=True)
