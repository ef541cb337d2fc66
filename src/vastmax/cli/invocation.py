"""How this program was called, for the commands it tells people to type next."""

from __future__ import annotations

import os
import shlex
import shutil
import sys

__all__ = ["program"]


def program() -> str:
    """Return what calls this program again, quoted for the shell: ``vastmax`` where the shell finds it by that name.

    From an environment that is not activated, as after ``make demo``, that is the path to it.
    """
    called = sys.argv[0]
    folder, name = os.path.split(called)
    if name == "__main__.py" and os.path.basename(folder) == "vastmax":
        return shlex.join([sys.executable, "-m", "vastmax"])
    found = shutil.which("vastmax")
    elsewhere = name != "vastmax"  # a program of someone else's that calls ours as a function
    if elsewhere or (found and os.path.realpath(found) == os.path.realpath(called)):
        return "vastmax"
    return shlex.quote(called)
