"""The mutation matrix of chapter 08, and its answer key."""

from matrix import *  # noqa: F403

TOPIC = "08_icl"
