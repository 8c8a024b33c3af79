"""A table of a person's own: read, understood column by column, prepared, and made a problem."""
