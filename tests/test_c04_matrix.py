"""The mutation matrix of chapter 04, and its answer key."""

from matrix import *  # noqa: F403

TOPIC = "04_reward_model"
