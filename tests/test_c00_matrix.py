"""The mutation matrix of chapter 00, and its answer key."""

from matrix import *  # noqa: F403

TOPIC = "00_start_here"
