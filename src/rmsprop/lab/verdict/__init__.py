"""Judges curves of losses: facts with numbers and advice, as data. Whoever shows them finds the words.

- `curves`: what is judged.
- `levels`: how high a curve is, how it goes, and how much of it is noise.
- `facts`: what a judgement consists of.
- `course`, `stalls`, `outliers`: the rules, by what they look for.
- `judge`: all of them, in the order in which one explains another.
"""
