"""Imports Optuna without a word; first of all in the façade.

Optuna imports tqdm, which in a notebook without ipywidgets warns that its bar cannot be shown.
foretune shows none of tqdm's.
"""

import warnings

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="IProgress not found")
    import optuna  # noqa: F401
