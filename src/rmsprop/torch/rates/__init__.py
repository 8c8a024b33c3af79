"""Learning rates that follow their gradients.

- `hypergradient_descent`, `marthe`: the two ways, with `tuned` in common.
- `tunable`: which optimizers can have them.
"""
