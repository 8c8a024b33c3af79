"""The problems that come with the package, each a function or a table of them."""
