"""The mutation matrix of chapter 11, and its answer key."""

from matrix import *  # noqa: F403

TOPIC = "11_pipeline"
