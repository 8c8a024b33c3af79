"""Says what a training run's history shows: findings with evidence and remedy.

- `history`: what can be known of a run, whoever wrote it down.
- `readers`: the recorder's file, a folder of `rmsprop train`, and the logs of other tools; `reading`: how it was read.
- `segments`: a history as curves that `rmsprop.lab.verdict` judges.
- `finding`, `rules`: what is found, and all rules applied.
- `curves`, `layers`, `precision`: the rules, by what they look at.
- `sentences`: how to speak of other loops.
- `pictures`, `report`: what is found, marked on the curves.
"""
