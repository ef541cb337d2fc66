"""What nobody should have to try on their own models: deaths, kills, damaged files and full disks, by the thousand.

``make campaign`` spends an hour on it; ``python -m tests.campaign --help`` says what else it does. Linux only.
"""

import os

if core := os.environ.get("VASTMAX_SANITIZED_CORE"):  # before anything here loads the one that is installed
    from tests.sanitized import load

    load(core)
