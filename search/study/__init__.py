"""What a study is: its description, target, sampler, pruner, trials and best config."""
