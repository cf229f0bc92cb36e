"""What a person reads of a study: progress, summary, results, comparison, note."""
