"""Paths of optimizers on functions of two variables: pictures, films, and a page that recomputes them."""
