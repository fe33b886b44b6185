"""How many processors this process may use: what it may run on, and what a container grants it."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def available_processors() -> int:
    """Processors worth a thread each: the affinity mask, cut to the control groups' quota."""
    count = os.cpu_count() or 1
    with suppress(AttributeError):  # not on every system
        count = len(os.sched_getaffinity(0))
    return max(1, math.ceil(min(count, _quota(_CGROUP, Path("/proc/self/cgroup")))))


def _quota(root: Path, membership: Path) -> float:
    """The smallest quota in processors of this process's control groups (version 2 and 1)."""
    quotas = [math.inf]
    with suppress(OSError):
        for line in membership.read_text().splitlines():
            _, controllers, name = line.split(":", 2)
            base = root / controllers if controllers else root
            if not controllers or "cpu" in controllers.split(","):
                inner = base / name.lstrip("/")
                quotas += [
                    _group_quota(each) for each in (inner, *inner.parents) if _in(each, root)
                ]
    return min(quotas)


def _in(folder: Path, root: Path) -> bool:
    return folder == root or root in folder.parents


def _group_quota(folder: Path) -> float:
    with suppress(OSError, ValueError):
        quota, period = (folder / "cpu.max").read_text().split()
        return math.inf if quota == "max" else int(quota) / int(period)
    with suppress(OSError, ValueError):
        quota = (folder / "cpu.cfs_quota_us").read_text()
        period = (folder / "cpu.cfs_period_us").read_text()
        return int(quota) / int(period) if int(quota) > 0 else math.inf
    return math.inf
