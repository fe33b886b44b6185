"""What goes wrong in a way a person can mend: one sentence that says what to do."""


class ProjectiveError(ValueError):
    """Input that has no decomposition or cannot be read."""


class ProjectiveWarning(UserWarning):
    """The factors are usable, but not as exact as was asked for."""
