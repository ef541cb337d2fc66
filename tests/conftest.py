"""What holds for every test."""

from hypothesis import settings

# a busy machine is no failure: examples are bounded in number and size, not in time
settings.register_profile("vastmax", deadline=None)
settings.load_profile("vastmax")
