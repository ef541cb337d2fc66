from tests.embeddings.conftest import random  # noqa: F401
