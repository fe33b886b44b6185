"""A short soak; soak.py is for long ones."""

from soak import soak


def test_badly_behaving_clients_leave_nothing_behind_and_others_unharmed() -> None:
    wrong, story = soak(seconds=10, clients=16, kinds=2)
    assert not wrong
    done = story["done"]
    assert done["answers compared"] > 10
    assert {"read_slowly", "leave_stream", "leave_whole", "send_half", "nonsense"} <= done.keys()
