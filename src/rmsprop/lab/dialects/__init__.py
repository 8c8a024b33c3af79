"""The dialects to look at: formulas, calls, first steps and differences."""
