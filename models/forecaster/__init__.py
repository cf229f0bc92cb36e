"""A trained model with all that a forecast takes, saved and loaded."""
