"""The optimizers that can be compared, each a row of data.

- `ranges`: where a hyperparameter is searched.
- `makers`, `rows`: how each optimizer is made, its defaults, and its ranges.
- `names`: the names that people give, with the average of the weights that may follow them.
- `choice`: an optimizer with all of its hyperparameters, ready to be made.

Nothing here imports a framework until an optimizer is made, so that a command's help can name them all.
"""

from rmsprop.lab.optimizers.choice import Choice as Choice
from rmsprop.lab.optimizers.choice import choose as choose
from rmsprop.lab.optimizers.choice import make as make
from rmsprop.lab.optimizers.names import SHORT as SHORT
from rmsprop.lab.optimizers.names import average_of as average_of
from rmsprop.lab.optimizers.names import bare as bare
from rmsprop.lab.optimizers.names import full_name as full_name
from rmsprop.lab.optimizers.names import row as row
from rmsprop.lab.optimizers.ranges import Range as Range
from rmsprop.lab.optimizers.rows import OPTIMIZERS as OPTIMIZERS
from rmsprop.lab.optimizers.rows import Row as Row
