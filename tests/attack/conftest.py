"""What is here beside tests are programs of their own, run by `make attack` and `make mutants`: nothing to collect."""

collect_ignore = ["__main__.py", "mutants.py"]
