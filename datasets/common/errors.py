"""The one kind of error that foretune raises for a user's mistake."""

# A message may quote a file, and a file can hold a megabyte in one line.
MAX_MESSAGE = 4000


class ForetuneError(Exception):
    """A mistake in what the user gave: a file, a field or a parameter.

    Its message is a single line that names the file, field or parameter, the value found
    there and what is allowed. The command line prints that line and ends with exit code 2.
    (Not a ValueError: pydantic would take one raised in a validator for its own.)
    """

    def __init__(self, message: str) -> None:
        line, half = printable(" ".join(message.split())), MAX_MESSAGE // 2
        if len(line) > MAX_MESSAGE:  # the file stands at the beginning, the rule often at the end
            line = f"{line[:half]} ... {line[-half:]}"
        super().__init__(line)


class DataError(ForetuneError):
    """Data that cannot be read or used."""


class ConfigError(ForetuneError):
    """A config, search space or argument that is not allowed."""


class DataWarning(UserWarning):
    """What reading data left out, filled or decided."""


def printable(text: str) -> str:
    r"""Escape what does not print: a name from a file may move the cursor of a terminal.

    Example:
        >>> printable("a\x1b[2J")
        'a\\x1b[2J'
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
