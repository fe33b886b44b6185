"""The one base of every error a user can cause.

Each room subclasses it (`HarmonyError`, `CheckpointError`, `EngineError`), the message is one
sentence that says what is wrong and what to do, and the command line prints it and exits with 2.
"""


class MotetError(Exception):
    """Bad input or a failing environment, described in one sentence fit for the screen."""
