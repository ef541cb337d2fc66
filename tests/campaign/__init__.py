"""Fault injection by the thousand: process deaths, kills, damaged files and full disks.

``make campaign`` runs it for an hour; ``python -m tests.campaign --help`` lists the options. Linux only.
"""

import os

if core := os.environ.get("VASTMAX_SANITIZED_CORE"):  # before anything here loads the installed core
    from tests.sanitized import load

    load(core)
