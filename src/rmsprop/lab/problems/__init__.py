"""What there is to learn: problems, their data and their models."""
