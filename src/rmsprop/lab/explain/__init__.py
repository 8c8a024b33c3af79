"""The page to play with: RMSProp explained in eleven figures, each of which computes in the browser what it shows.

A figure is written twice, in Python (``figures/NAME.py``, by `rmsprop.reference` and ``torch.optim``) and in JavaScript
(``figures/NAME.js``). Both make the same `FigureContent` from the same settings: Python draws what a page without
JavaScript shows, and is what tests hold the browser to. All words are in ``texts``, one file per language.
"""

from typing import Literal, get_args

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
