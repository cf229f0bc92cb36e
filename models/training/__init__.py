"""Training: batches, epochs, folds, lanes, and tasks that an executor runs."""
