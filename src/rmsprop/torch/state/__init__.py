"""What is kept per parameter.

- `param_state`: a dict that tells of changes, and shows what torch's has.
- `completion`: what a rule needs of it and it lacks, with a `variance` where centered.
- `rounding`: how numbers are stored; `packing` holds those of 16 and 8 bits.
- `counter`: the count of steps.
"""
