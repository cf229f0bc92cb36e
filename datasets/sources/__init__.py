"""Where series come from: files, samples, downloads."""
