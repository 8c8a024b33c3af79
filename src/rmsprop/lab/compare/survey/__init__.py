"""One question over several problems: "Adam, SGD, RMSProp, SWA or AdaTune?", a comparison for each, on one page.

- `costs`: what is asked, and what every run of a problem costs by every measure.
- `files`: these costs as a table and back.
- `sentences`, `tables`: what they say, problem by problem.
- `report`: the page, and the files beside it.
"""
