"""One training run: its settings, its folder, its curves, its verdict and its report."""
