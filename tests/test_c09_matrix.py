"""The mutation matrix of chapter 09, and its answer key."""

from matrix import *  # noqa: F403

TOPIC = "09_cot"
