"""What is here are programs of their own, run by `make sanitize` and for wheels: no tests to collect."""

collect_ignore = ["sanitize.py", "write_cases.py"]
