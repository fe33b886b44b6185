"""The six tasks of the nano model, each an endless generator of exercises."""

from motet.training.exercise import Generator
from motet.training.tasks.arithmetic import arithmetic
from motet.training.tasks.functions import functions
from motet.training.tasks.letters import letters
from motet.training.tasks.lookup import lookup
from motet.training.tasks.ordering import ordering
from motet.training.tasks.talk import talk

TASKS: dict[str, Generator] = {
    "arithmetic": arithmetic,
    "ordering": ordering,
    "lookup": lookup,
    "letters": letters,
    "functions": functions,
    "talk": talk,
}

__all__ = ["TASKS"]
