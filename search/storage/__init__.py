"""Where studies are stored: databases opened, retried and held by one driver at a time.

Whoever imports Optuna first imports this: tqdm, which comes with it, warns in a notebook without
ipywidgets that its bar cannot be shown, and foretune shows none of its bars.
"""

import warnings

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="IProgress not found")
    import optuna  # noqa: F401
