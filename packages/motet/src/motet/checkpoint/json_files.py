"""Reading the small JSON files of a checkpoint folder."""

import json
from pathlib import Path
from typing import Any

from motet.checkpoint.errors import CheckpointError, system_errors
from motet.checkpoint.keys import shown

_LARGEST = 100_000_000


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises CheckpointError if it is anything else."""
    with system_errors("read", path), path.open("rb") as file:
        text = file.read(_LARGEST + 1)
    if len(text) > _LARGEST:
        raise CheckpointError(f"{path}: larger than {_LARGEST} bytes, not the file it should be")
    try:
        values = json.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path}: not valid JSON ({shown(str(error))[1:-1]}); download it again"
        ) from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: has to be a JSON object, it is {shown(values)}")
    return values
