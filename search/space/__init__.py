"""What a study may choose from."""
