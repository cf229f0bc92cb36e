"""The ``foretune`` command, thin over the Python API."""
