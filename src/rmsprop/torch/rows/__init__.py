"""The rows of sparse gradients: updated alone, and brought up to date before.

- `sparse`: which sparse gradients are applied row by row, and which become dense ones.
- `update`: the update of the rows that have gradients, and the `rowwise` one of rows that have one average each, whose
  state is in `averages`.
- `clock`: the steps to which rows are up to date, and how all are brought to one; `stored` reads and writes them.
- `prepared`: rows that are brought up to date before a forward reads them.
"""
