"""The mutation matrix of chapter 10, and its answer key."""

from matrix import *  # noqa: F403

TOPIC = "10_grpo"
