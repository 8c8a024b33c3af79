"""The dialects to look at: formulas, calls, first steps, differences, and the page of the documentation."""
