"""Whether weights are still what they were: the files a model computes on are mapped, not copied.

A file that is deleted or replaced stays as it was for those who have it mapped. One that is cut
short, or whose disk fails, leaves the native model with zeros in place of weights; it notices where
it has read them. The files' lengths are asked as well, because the last page of a file is filled up
with zeros without a word.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from motet.checkpoint import Checkpoint, CheckpointError
from motet.engine.errors import EngineError


@contextmanager
def readable_weights(checkpoint: Checkpoint) -> Iterator[None]:
    """Raises EngineError if the weights that were read within may not have been the model's."""
    try:
        yield
    except OSError as error:
        require_whole(checkpoint)  # its error names the file
        raise EngineError(str(error)) from error
    require_whole(checkpoint)


def require_whole(checkpoint: Checkpoint) -> None:
    """Raises EngineError if a file has been cut short since it was mapped."""
    try:
        checkpoint.require_whole()
    except CheckpointError as error:
        raise EngineError(str(error)) from error
