"""What the reader of chapter 07 guesses before a cell shows it, and what is said afterwards."""

PREDICTIONS = {}
