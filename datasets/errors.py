"""The one kind of error that foretune raises for a user's mistake."""


class ForetuneError(Exception):
    """A mistake in what the user gave: a file, a field or a parameter.

    Its message is a single line that names the file, field or parameter, the value found
    there and what is allowed. The command line prints that line and ends with exit code 2.
    (Not a ValueError: pydantic would take one raised in a validator for its own.)
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class DataError(ForetuneError):
    """Prices that cannot be read or used."""


class ConfigError(ForetuneError):
    """A config, search space or argument that is not allowed."""
