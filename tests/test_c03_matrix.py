"""The mutation matrix of chapter 03, and its answer key."""

from matrix import *  # noqa: F403

TOPIC = "03_reinforce"
