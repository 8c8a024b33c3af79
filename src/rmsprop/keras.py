"""RMSProp for Keras 3: an optimizer for the TensorFlow, JAX and torch backends, in every framework's dialect."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from numbers import Real
from typing import Any

import numpy as np

try:
    import keras
    from keras import ops
except ImportError as error:
    raise ImportError(
        "rmsprop.keras needs Keras 3 and one of its backends: pip install 'rmsprop[keras]', and tensorflow, jax or "
        "torch, named in the environment variable KERAS_BACKEND"
    ) from error

from rmsprop import keywords, reference
from rmsprop.dialects import get_dialect, learning_rate
from rmsprop.recipes import get_recipe
from rmsprop.rule import Rule, WeightDecayMode, check_number

# Field of `Rule` -> keyword and attribute of the optimizer.
KEYWORDS = {field.name: keywords.KERAS.get(field.name, field.name) for field in fields(Rule)}

# Name of the state (`Rule.state_names`) -> name of the optimizer's variables. Names and order are those of
# keras.optimizers.RMSprop, so that a file stores both by the same numbers; the variance takes the velocity's place.
SLOTS = {
    "square_avg": "velocity",
    "grad_var": "variance",
    "momentum_buffer": "momentum",
    "grad_avg": "average_gradient",
}


_ANOTHER_FILE = "load the file of an optimizer for the same model"


class _StateStart(keras.initializers.Constant):  # type: ignore[misc]
    """Where a state array starts; also tells `RMSprop.add_variable` that the variable is one."""


@keras.saving.register_keras_serializable(package="rmsprop")
class RMSprop(keras.optimizers.Optimizer):  # type: ignore[misc]
    """RMSProp in any framework's dialect: takes the place of ``keras.optimizers.RMSprop``.

    In the keras dialect v ← ρ·v + (1 − ρ)·g² and θ ← θ − lr·g/√(v + ε).

    State is kept in at least 32 bits. A sparse gradient is an economical way to write a dense one: its duplicate rows
    are added up before anything else is done with it. `rmsprop.reference.update` states the arithmetic with every
    option.

    Args:
        learning_rate: A number of at least 0, a ``keras.optimizers.schedules.LearningRateSchedule`` or a function of
            no arguments. Default: the dialect's, 1e-3 for keras.
        rho: The decay ρ of the moving averages, from 0 to 1. Default: the dialect's, 0.9 for keras.
        momentum: μ, from 0 to 1. Default: the dialect's, 0 for keras.
        epsilon: ε in the denominator, at least 0. Default: the dialect's, 1e-7 for keras.
        centered: Divide by the standard deviation of the gradient instead of its root mean square. Default: the
            dialect's, False for keras.
        weight_decay: λ, at least 0; ``exclude_from_weight_decay`` exempts variables. Default: the dialect's, none for
            keras.
        clipnorm: Largest norm of each variable's gradient. Default None: no limit.
        clipvalue: Largest magnitude of each element of a gradient. Default None: no limit.
        global_clipnorm: Largest norm of all gradients together. Default None: no limit.
        use_ema: Keep an exponential moving average of the model's variables. Default False.
        ema_momentum: The decay of that average, from 0 to 1. Default 0.99.
        ema_overwrite_frequency: After how many updates the average replaces the variables. Default None: never.
        loss_scale_factor: What the loss is multiplied with and gradients are divided by. Default None: 1.
        gradient_accumulation_steps: How many gradients make one update, at least 2. Default None: one does.
        name: The optimizer's name. Default None: one that Keras makes.
        dialect: Whose RMSProp: a key of `rmsprop.DIALECTS`. It gives the defaults; an explicit argument wins.
            Default ``"keras"``.
        eps_inside_sqrt: Divide by √(v + ε) instead of √v + ε. Default: the dialect's.
        initial_square_avg: What v starts from, at least 0. Default: the dialect's.
        nesterov: Nesterov momentum. Default: the dialect's.
        lr_in_momentum: The momentum buffer collects lr·u instead of u. Default: the dialect's.
        bias_correction: Divide the averages by 1 − ρᵗ; their state then holds the corrected averages. Default: the
            dialect's.
        weight_decay_mode: ``"l2"`` (added to the gradient) or ``"decoupled"`` (subtracted from the variable, times
            lr). Default: the dialect's.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If one is out of range, or ``learning_rate`` is left out for a dialect without a default.

    Examples:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        >>> model.compile(optimizer=RMSprop(0.256, dialect="tensorflow1", momentum=0.9, epsilon=1e-3), loss="mse")
        >>> history = model.fit(np.ones((8, 2)), np.ones(8), verbose=0)
        >>> model.optimizer.eps_inside_sqrt
        True

    Source: Tieleman and Hinton, "Lecture 6.5: rmsprop", COURSERA: Neural Networks for Machine Learning, 2012;
    centered: Graves, arXiv 1308.0850, equations 38 to 45.
    """

    def __init__(
        self,
        learning_rate: float | Callable[..., Any] | None = None,
        rho: float | None = None,
        momentum: float | None = None,
        epsilon: float | None = None,
        centered: bool | None = None,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        *,
        dialect: str = "keras",
        eps_inside_sqrt: bool | None = None,
        initial_square_avg: float | None = None,
        nesterov: bool | None = None,
        lr_in_momentum: bool | None = None,
        bias_correction: bool | None = None,
        weight_decay_mode: WeightDecayMode | None = None,
    ) -> None:
        if rho is not None:
            check_number("decay", rho, "rho value")
        rule = get_dialect(dialect).rule_with(
            decay=rho,
            eps=epsilon,
            eps_inside_sqrt=eps_inside_sqrt,
            initial_square_avg=initial_square_avg,
            centered=centered,
            momentum=momentum,
            nesterov=nesterov,
            lr_in_momentum=lr_in_momentum,
            bias_correction=bias_correction,
            weight_decay=weight_decay,
            weight_decay_mode=weight_decay_mode,
        )
        super().__init__(
            learning_rate=_checked_learning_rate(dialect, learning_rate),
            weight_decay=rule.weight_decay or None,
            clipnorm=clipnorm,
            clipvalue=clipvalue,
            global_clipnorm=global_clipnorm,
            use_ema=use_ema,
            ema_momentum=ema_momentum,
            ema_overwrite_frequency=ema_overwrite_frequency,
            loss_scale_factor=loss_scale_factor,
            gradient_accumulation_steps=gradient_accumulation_steps,
            name=name,
        )
        self.dialect = dialect
        for field, keyword in KEYWORDS.items():
            if field != "weight_decay":  # the base class has set it
                setattr(self, keyword, getattr(rule, field))

    @classmethod
    def from_recipe(cls, recipe: str, **overrides: Any) -> RMSprop:
        """Return an optimizer with the settings of a published result.

        Args:
            recipe: A key of `rmsprop.RECIPES`.
            **overrides: Arguments of the constructor; they win. None stands for the recipe's choice.

        Returns:
            The optimizer, with the learning rate that the recipe's schedule starts from or peaks at.

        Raises:
            TypeError: If an override is unknown or of the wrong type.
            ValueError: If there is no such recipe, or a value is out of range.

        Examples:
            >>> RMSprop.from_recipe("efficientnet", rho=0.95).epsilon
            0.001
        """
        return cls(**get_recipe(recipe).arguments(keywords.KERAS, overrides))

    @property
    def rule(self) -> Rule:
        """What an update computes, from the optimizer's attributes as they are now."""
        check_number("decay", self.rho, "rho value")
        values = {field: getattr(self, keyword) for field, keyword in KEYWORDS.items()}
        return Rule(**{**values, "weight_decay": self.weight_decay or 0.0})

    @property
    def learning_rate(self) -> Any:
        """The current learning rate; a number, a schedule or a function can be assigned."""
        return self._get_current_learning_rate()

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        if isinstance(value, Real):
            check_number("lr", value)
        keras.optimizers.Optimizer.learning_rate.fset(self, value)

    def build(self, variables: Sequence[Any]) -> None:
        """Make the optimizer's variables.

        Args:
            variables: The variables that it will update.

        Raises:
            ValueError: If one of them is there twice.

        Examples:
            >>> optimizer = RMSprop(momentum=0.9, name="r")
            >>> optimizer.build([keras.Variable(np.zeros(2), name="w")])
            >>> [variable.path for variable in optimizer.variables]
            ['r/iteration', 'r/learning_rate', 'r/w_velocity', 'r/w_momentum']
        """
        if self.built:
            return
        self._check_distinct(variables)
        super().build(variables)
        rule = self.rule
        self._state = {
            name: self.add_optimizer_variables(variables, slot, _StateStart(rule.start(name)))
            for name, slot in SLOTS.items()
            if name in rule.state_names
        }

    def add_variable(self, shape: Any, initializer: Any = "zeros", dtype: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Add a variable to the optimizer, in at least 32 bits if it is state of the update.

        Args:
            shape: Its shape.
            initializer: What it starts from. Default zeros.
            dtype: Its dtype. Default: Keras' default for floats.
            *args: As in Keras.
            **kwargs: As in Keras.

        Returns:
            The variable.
        """
        if isinstance(initializer, _StateStart):
            dtype = _working_dtype(dtype)
        return super().add_variable(shape, initializer, dtype, *args, **kwargs)

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        """Update variables.

        Args:
            grads: Their gradients, dense or sparse; None leaves a variable as it is.
            trainable_variables: The variables. Default: those that the optimizer was built with.

        Raises:
            TypeError: If a gradient does not consist of real numbers.
            ValueError: If the gradients do not belong to these variables one to one, in number and shape, or an
                attribute was set out of range. Whatever is raised, nothing has changed.
            RuntimeError: If an attribute was set that needs state which the optimizer was not built with.

        Examples:
            >>> weight, optimizer = keras.Variable([1.0]), RMSprop(0.1, rho=0.75, epsilon=0.0)
            >>> optimizer.apply([ops.array([2.0])], [weight])
            >>> float(weight.numpy()[0])
            0.800000011920929
        """
        self._check_state()
        dense = [_dense(grad) for grad in grads]
        if trainable_variables is not None:
            trainable_variables = list(trainable_variables)
            if len(dense) != len(trainable_variables):
                raise ValueError(
                    f"apply got {len(dense)} gradients and {len(trainable_variables)} variables, but needs one "
                    "gradient for each variable: give None for a variable that shall stay as it is"
                )
            self._check_distinct(trainable_variables)
        variables = self._trainable_variables if trainable_variables is None else trainable_variables
        if len(dense) == len(variables):  # else Keras refuses them
            for grad, variable in zip(dense, variables, strict=True):
                _check_gradient(grad, variable)
        super().apply(dense, trainable_variables)

    def _check_distinct(self, variables: Sequence[Any]) -> None:
        seen = set()
        for variable in variables:
            key = self._var_key(variable)
            if key in seen:
                raise ValueError(
                    f"the optimizer got {_name(variable)} twice, but updates a variable once per step: give it once, "
                    "with the sum of its gradients"
                )
            seen.add(key)

    def _check_state(self) -> None:
        missing = set(self.rule.state_names) - set(self._state) if self.built else set()
        if missing:
            raise RuntimeError(
                f"the optimizer was built without {SLOTS[min(missing)]}, which momentum={self.momentum} and "
                f"centered={self.centered} need: make a new optimizer with them"
            )

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable and its state.

        Args:
            gradient: Its gradient, dense.
            variable: The variable, of Keras or, on that backend, of TensorFlow.
            learning_rate: The learning rate.
        """
        dtype = _working_dtype(variable.dtype)
        rule = self.rule if self._use_weight_decay(variable) else replace(self.rule, weight_decay=0.0)
        index = self._get_variable_index(variable)
        state = {name: self._state[name][index] for name in rule.state_names}
        new_value, new_state = reference.apply(
            rule,
            ops.cast(learning_rate, dtype),
            ops.cast(self.iterations + 1, dtype),
            ops.stop_gradient(ops.cast(variable, dtype)),
            ops.cast(gradient, dtype),
            {name: ops.convert_to_tensor(value) for name, value in state.items()},
            ops,
        )
        for name, value in new_state.items():
            self.assign(state[name], value)
        self.assign(variable, new_value)

    def _apply_weight_decay(self, variables: Sequence[Any]) -> None:
        """Leave weight decay to `update_step`: on the torch backend Keras rounds 1 − lr·λ to float32."""

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, by which `from_config` makes an equal optimizer.

        Returns:
            Keyword -> value that JSON can hold. Every choice is explicit, whatever the dialect's defaults.

        Examples:
            >>> RMSprop.from_config(RMSprop(rho=0.95).get_config()).rho
            0.95
        """
        choices = {keyword: getattr(self, keyword) for keyword in KEYWORDS.values()}
        return {**super().get_config(), **choices, "dialect": self.dialect}

    def save_own_variables(self, store: Any) -> None:
        """Write the optimizer's variables to an open file, by the numbers of ``keras.optimizers.RMSprop``.

        A centered optimizer keeps v − m². Its file has v in the place where Keras has it, and the exact variance
        beside it, as ``"<number>_variance"``.

        Args:
            store: What Keras hands over: a mapping from names to arrays.
        """
        values = {str(number): variable.numpy() for number, variable in enumerate(self.variables)}
        for key, mean_key in self._variance_keys().items():
            values[f"{key}_variance"] = values[key]
            values[key] = values[key] + values[mean_key] ** 2
        for key, value in values.items():
            store[key] = value

    def load_own_variables(self, store: Any) -> None:
        """Read the optimizer's variables from an open file, written by this class or by ``keras.optimizers.RMSprop``.

        Args:
            store: What Keras hands over: a mapping from names to arrays.

        Raises:
            ValueError: If an array is missing, holds something else than real numbers or does not have its variable's
                shape, or if the learning rate or the iteration is out of range. The optimizer is then as it was before.
        """
        values = {key: np.asarray(store[key]) for key in store.keys()}  # noqa: SIM118  a store of Keras cannot be iterated
        for key, mean_key in self._variance_keys().items():
            if f"{key}_variance" in values:
                values[key] = values.pop(f"{key}_variance")
            elif key in values and mean_key in values:
                values[key] = np.maximum(values[key] - values[mean_key] ** 2, 0)
        if len(values) == len(self.variables):  # else Keras loads nothing, and says so
            for number, variable in enumerate(self.variables):
                self._check_saved(number, variable, values.get(str(number)))
        super().load_own_variables(values)

    def _check_saved(self, number: int, variable: Any, found: Any) -> None:
        """Say why a saved array cannot become the value of a variable of the optimizer, if it cannot."""
        if found is None:
            raise ValueError(f"There is no saved variable {number}, but {variable.path} needs it: {_ANOTHER_FILE}")
        if found.dtype.kind not in "fiu" and found.dtype.name != "bfloat16":
            raise ValueError(
                f"The saved variable {number} has dtype {found.dtype}, but {variable.path} needs real numbers: "
                f"{_ANOTHER_FILE}"
            )
        if tuple(found.shape) != tuple(variable.shape):
            raise ValueError(
                f"The saved variable {number} has shape {tuple(found.shape)}, but {variable.path} has "
                f"{tuple(variable.shape)}: {_ANOTHER_FILE}"
            )
        if variable is self._learning_rate:
            check_number("lr", float(found))
        if variable is self._iterations and not (0 <= found < np.inf and found % 1 == 0):
            raise ValueError(f"Invalid iteration: {found} (allowed: a whole number >= 0)")

    def _variance_keys(self) -> Mapping[str, str]:
        """Return the names under which a file stores each variance and the mean that belongs to it."""
        if not self.built or "grad_var" not in self._state:
            return {}
        numbers = {id(variable): str(number) for number, variable in enumerate(self.variables)}
        pairs = zip(self._state["grad_var"], self._state["grad_avg"], strict=True)
        return {numbers[id(variance)]: numbers[id(mean)] for variance, mean in pairs if variance is not None}


def _checked_learning_rate(dialect: str, value: Any) -> Any:
    value = learning_rate(dialect, value)
    return value if callable(value) else check_number("lr", value)


def _working_dtype(dtype: Any) -> str:
    """Return the precision of an update: the variable's own, but never fewer than 32 bits."""
    return "float64" if keras.backend.standardize_dtype(dtype) == "float64" else "float32"


def _name(variable: Any) -> str:
    return str(getattr(variable, "path", variable.name))  # a tf.Variable has no path


def _check_gradient(gradient: Any, variable: Any) -> None:
    """Refuse a gradient that is not one of this variable, as far as its shape is known before a graph runs."""
    if gradient is None:
        return
    dtype = keras.backend.standardize_dtype(gradient.dtype)
    if not (keras.backend.is_float_dtype(dtype) or keras.backend.is_int_dtype(dtype)):
        raise TypeError(f"the gradient of {_name(variable)} has dtype {dtype}, but RMSProp needs real numbers")
    shape, needed = tuple(gradient.shape), tuple(variable.shape)
    if len(shape) != len(needed) or any(n not in (None, m) for n, m in zip(shape, needed, strict=True)):
        raise ValueError(f"the gradient of {_name(variable)} has shape {shape}, but needs {needed}")


def _dense(gradient: Any) -> Any:
    """Return a gradient as a dense tensor, with duplicate rows added up."""
    if gradient is None:
        return None
    if getattr(gradient, "is_sparse", False):  # of a torch module inside a Keras layer
        return gradient.to_dense()
    if hasattr(gradient, "indices") and hasattr(gradient, "dense_shape"):  # tensorflow.IndexedSlices
        import tensorflow as tf

        return tf.convert_to_tensor(gradient)
    return ops.convert_to_tensor(gradient, sparse=False)
