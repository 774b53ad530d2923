"""What all tests share."""

from hypothesis import settings

# A machine under load is slow, which is no failure: no test asserts timing.
settings.register_profile("sekisho", deadline=None)
settings.load_profile("sekisho")
