"""What nobody should have to try on their own models: deaths, kills, damaged files and full disks, by the thousand.

``make campaign`` spends an hour on it; ``python -m tests.campaign --help`` says what else it does. Linux only.
"""
