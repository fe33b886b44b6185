"""What all tests share: repeatable, quick property tests that no slow machine can fail."""

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=60)
settings.load_profile("repeatable")
