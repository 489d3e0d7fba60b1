"""The mutation matrix of chapter 05, and its answer key."""

from matrix import *  # noqa: F403

TOPIC = "05_ppo"
