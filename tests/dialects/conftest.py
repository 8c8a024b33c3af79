"""The recorders import frameworks that are not installed here."""

collect_ignore = ["recorders"]
