"""Error messages have one form: what is wrong, a colon, what to do."""

import re

from tests.error_catalogue import messages

OURS = {"CheckpointError", "CorpusError", "DivergedError", "FormatError", "InputError", "UnknownWordError"}
# Reasons that the caller embeds in a message.
REASONS = {
    *("not JSON (…)", "not TOML (…)", "in … …", "… ….", "… lacks identity or facts"),
    "its sizes ask for more than … numbers, and its tensors have fewer",
}


NAMES = {"DistributedDataParallel", "PyTorch"}  # names that may start a message


def sentences() -> list[tuple[str, str]]:
    """Return the place and template of each of our errors that adds text of its own."""
    return [(place, text) for place, error, text in messages() if error in OURS and re.search(r"\w", text)]


def test_errors_say_what_is_wrong_and_what_to_do() -> None:
    assert len(sentences()) > 400
    wanted = re.compile(r".+: .*[.…]", re.DOTALL)
    assert [each for each in sentences() if each[1] not in REASONS and not wanted.fullmatch(each[1])] == []


def test_errors_begin_with_a_name_or_in_lower_case() -> None:
    begun = [(place, text.split()[0].strip(":,'s")) for place, text in sentences() if text[0].isupper()]
    assert [each for each in begun if each[1] not in NAMES] == []
