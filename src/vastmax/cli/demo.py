"""``vastmax demo``."""


def demo() -> None:
    """Stub."""
