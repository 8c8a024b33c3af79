"""The optimizer, for all backends of Keras."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from numbers import Real
from typing import Any, Unpack

import keras
import numpy as np
from keras import ops

from rmsprop import keywords, reference
from rmsprop.dialects import get_dialect
from rmsprop.hyperparameters import check_number, check_step_lr
from rmsprop.keras import files
from rmsprop.keras.inputs import check_above_zero, check_gradient, checked_learning_rate, dense, name_of
from rmsprop.keras.kernel import KernelUpdate, may_run
from rmsprop.keras.table import Updatable
from rmsprop.options import check_options, named_options
from rmsprop.recipes import get_recipe
from rmsprop.rule import ChoiceOptions, Rule
from rmsprop.storage import working_dtype

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
            no arguments. Default: the dialect's, 1e-3 for keras. The attribute ``learning_rate`` may be set between
            steps, to any finite number.
        rho: The decay ρ of the moving averages, from 0 to 1. Default: the dialect's, 0.9 for keras.
        momentum: μ, from 0 to 1. Default: the dialect's, 0 for keras.
        epsilon: ε in the denominator, at least 0. Default: the dialect's, 1e-7 for keras.
        centered: Divide by the standard deviation of the gradient instead of its root mean square. Default: the
            dialect's, False for keras.
        weight_decay: λ, at least 0; ``exclude_from_weight_decay`` exempts variables. Default: the dialect's, none for
            keras.
        clipnorm: Largest norm of each variable's gradient, above 0. Default None: no limit.
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
        averaged_momentum: The momentum buffer averages u instead of adding it up. Default: the dialect's.
        caution: Take no step with another sign than its gradient, and longer ones instead in the rest of the variable
            (needs ``momentum``). Default: the dialect's.
        init_from_gradient: v starts from the square of the first gradient. Default: the dialect's.
        delayed: Divide by v as it was before this gradient, and limit the quotient to (t − 1)^¼, as ADOPT does.
            Default: the dialect's.
        bias_correction: Divide the averages by 1 − ρᵗ; their state then holds the corrected averages. Default: the
            dialect's.
        weight_decay_mode: ``"l2"`` (added to the gradient), ``"decoupled"`` (subtracted from the variable, times
            lr) or ``"cautious"`` (that, but not where the update moves away from 0). Default: the dialect's.
        weight_decay_max_lr: The schedule's largest learning rate, by which decay that isn't L2 is corrected: times
            lr/lr_max. 0 corrects nothing. Default: the dialect's.

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

    @named_options(ChoiceOptions)
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
        **options: Unpack[ChoiceOptions],
    ) -> None:
        check_options(options, RMSprop.__init__)
        if rho is not None:
            check_number("decay", rho, "rho value")
        rule = get_dialect(dialect).rule_with(
            decay=rho,
            eps=epsilon,
            centered=centered,
            momentum=momentum,
            weight_decay=weight_decay,
            **options,
        )
        rule = rule.known()
        limits = {"clipnorm": clipnorm, "clipvalue": clipvalue, "global_clipnorm": global_clipnorm}
        check_above_zero({**limits, "loss_scale_factor": loss_scale_factor})
        super().__init__(
            learning_rate=checked_learning_rate(dialect, learning_rate),
            weight_decay=rule.weight_decay or None,
            **limits,
            use_ema=use_ema,
            ema_momentum=ema_momentum,
            ema_overwrite_frequency=ema_overwrite_frequency,
            loss_scale_factor=loss_scale_factor,
            gradient_accumulation_steps=gradient_accumulation_steps,
            name=name,
        )
        self.dialect = dialect
        self._excluded_names: list[str] = []
        self._excluded_numbers: list[int] = []
        self._update = _array_update()
        self._kernel = KernelUpdate() if keras.backend.backend() == "torch" else None
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
            The optimizer, with the learning rate that the recipe's schedule starts from or peaks at. It doesn't clip:
            where the recipe names a ``max_grad_norm`` or ``max_grad_value``, give ``global_clipnorm`` or
            ``clipvalue``.

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
        return Rule(**{**values, "weight_decay": self.weight_decay or 0.0}).known()

    @property
    def learning_rate(self) -> Any:
        """The current learning rate; a number, a schedule or a function can be assigned."""
        return self._get_current_learning_rate()

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        if isinstance(value, (Real, np.ndarray)):
            check_step_lr(value)
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
        dense_grads = [dense(grad) for grad in grads]
        if trainable_variables is not None:
            trainable_variables = list(trainable_variables)
            if len(dense_grads) != len(trainable_variables):
                raise ValueError(
                    f"apply got {len(dense_grads)} gradients and {len(trainable_variables)} variables, but needs one "
                    "gradient for each variable: give None for a variable that shall stay as it is"
                )
            self._check_distinct(trainable_variables)
        variables = self._trainable_variables if trainable_variables is None else trainable_variables
        if len(dense_grads) == len(variables):  # else Keras refuses them
            for grad, variable in zip(dense_grads, variables, strict=True):
                check_gradient(grad, variable)
        super().apply(dense_grads, trainable_variables)

    def _check_distinct(self, variables: Sequence[Any]) -> None:
        seen = set()
        for variable in variables:
            key = self._var_key(variable)
            if key in seen:
                raise ValueError(
                    f"the optimizer got {name_of(variable)} twice, but updates a variable once per step: give it once, "
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

    def _backend_update_step(self, grads: Sequence[Any], variables: Sequence[Any], learning_rate: Any) -> None:
        """Update variables: on the torch backend by the compiled kernel, and one by one what it can't update.

        Args:
            grads: Their gradients, dense.
            variables: The variables.
            learning_rate: The learning rate.
        """
        if self._kernel is not None and may_run() and type(self).update_step is RMSprop.update_step:
            numbers = [self._get_variable_index(variable) for variable in variables]
            left = self._update_by_kernel(self._kernel, dict(zip(numbers, grads, strict=True)), learning_rate)
            places = [place for place, number in enumerate(numbers) if number in left]
            grads, variables = [grads[place] for place in places], [variables[place] for place in places]
        super()._backend_update_step(grads, variables, learning_rate)

    def _update_by_kernel(self, kernel: KernelUpdate, grads: Mapping[int, Any], learning_rate: Any) -> Collection[int]:
        """Update what the kernel can; return the numbers of the variables that are left.

        Args:
            kernel: What updates.
            grads: Number of a variable -> gradient.
            learning_rate: The learning rate.
        """
        rule, everyone = self.rule, range(len(self._trainable_variables))
        targets = [self._target(number, rule.state_names) for number in everyone]
        lr = learning_rate if isinstance(learning_rate, Real) else ops.convert_to_tensor(learning_rate).item()
        step = ops.convert_to_tensor(self.iterations).item() + 1 if rule.depends_on_step else 1
        rules = rule, replace(rule, weight_decay=0.0)
        return kernel(rules, float(lr), step, targets, [grads.get(number) for number in everyone])

    def _target(self, number: int, state_names: Iterable[str]) -> Updatable | None:
        """Return a variable with its state, or None for one that is overwritten with its gradient."""
        variable = self._trainable_variables[number]
        if self._overwrite_variable_with_gradient(variable):
            return None
        state = {name: self._state[name][number].value for name in state_names}
        return Updatable(name_of(variable), variable.value, state, 0 if self._use_weight_decay(variable) else 1)

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
        new_value, new_state = self._update(
            rule,
            ops.cast(learning_rate, dtype),
            ops.cast(self.iterations + 1 if rule.depends_on_step else 1, dtype),
            ops.stop_gradient(ops.cast(variable, dtype)),
            ops.cast(gradient, dtype),
            {name: ops.convert_to_tensor(value) for name, value in state.items()},
        )
        for name, value in new_state.items():
            self.assign(state[name], value)
        self.assign(variable, new_value)

    def exclude_from_weight_decay(
        self, var_list: Iterable[Any] | None = None, var_names: Iterable[str] | None = None
    ) -> None:
        """Exempt variables from weight decay; a saved model and `get_config` keep it, which Keras forgets.

        Args:
            var_list: The variables; they are kept by their numbers, once the optimizer is built. Default: none.
            var_names: Patterns (regular expressions) of names of variables. Default: none.

        Examples:
            >>> optimizer = RMSprop(weight_decay=0.1)
            >>> optimizer.exclude_from_weight_decay(var_names=["bias"])
            >>> RMSprop.from_config(optimizer.get_config()).get_config()["excluded_from_weight_decay"]
            {'numbers': [], 'var_names': ['bias']}
        """
        names = sorted(set(var_names or ()))
        super().exclude_from_weight_decay(list(var_list or ()), names)
        self._excluded_names, self._excluded_numbers = names, []

    def _use_weight_decay(self, variable: Any) -> bool:
        by_number = self._get_variable_index(variable) in self._excluded_numbers
        return not by_number and super()._use_weight_decay(variable)

    def _excluded(self) -> dict[str, Any]:
        """Return what weight decay leaves out as `from_config` finds it again: a path may change in a loaded model."""
        variables = enumerate(self._trainable_variables if self.built else ())
        numbers = [number for number, variable in variables if not self._use_weight_decay(variable)]
        return {"numbers": numbers, "var_names": self._excluded_names} if numbers or self._excluded_names else {}

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
        excluded = self._excluded()
        named = {"excluded_from_weight_decay": excluded} if excluded else {}
        return {**super().get_config(), **choices, "dialect": self.dialect, **named}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> RMSprop:
        """Return the optimizer that `get_config` described.

        Args:
            config: The description. Its learning rate may lie below 0, where a loop or callback has taken it there.
            custom_objects: Classes by name, for a learning rate that is a schedule. Default: the registered ones.

        Returns:
            The optimizer.

        Examples:
            >>> RMSprop.from_config(RMSprop().get_config() | {"learning_rate": -0.5}).get_config()["learning_rate"]
            -0.5
        """
        arguments = dict(config)
        excluded = arguments.pop("excluded_from_weight_decay", None)
        rate = config.get("learning_rate")
        below = isinstance(rate, Real) and rate < 0
        optimizer: RMSprop = super().from_config(arguments | ({"learning_rate": 0.0} if below else {}), custom_objects)
        if below:
            optimizer.learning_rate = rate
        if excluded:
            optimizer.exclude_from_weight_decay(var_names=excluded["var_names"])
            optimizer._excluded_numbers = excluded["numbers"]
        return optimizer

    def save_own_variables(self, store: Any) -> None:
        """Write the optimizer's variables to an open file, by the numbers of ``keras.optimizers.RMSprop``.

        A centered optimizer keeps v − m². Its file has v in the place where Keras has it, and the exact variance
        beside it, as ``"<number>_variance"``.

        Args:
            store: What Keras hands over: a mapping from names to arrays.
        """
        values = {str(number): variable.numpy() for number, variable in enumerate(self.variables)}
        for key, value in files.to_file(values, self._means()).items():
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
        values = files.from_file(values, self._means())
        if len(values) == len(self.variables):  # else Keras loads nothing, and says so
            for number, variable in enumerate(self.variables):
                found = values.get(str(number))
                files.check_saved(number, variable, found)
                if variable is self._learning_rate:
                    files.check_saved_rate(found)
                if variable is self._iterations:
                    files.check_saved_iteration(found)
        super().load_own_variables(values)

    def _means(self) -> dict[str, str]:
        return files.numbered_means(self.variables, self._state) if self.built else {}


def _array_update() -> Callable[..., Any]:
    """Return `rmsprop.reference.apply` for the arrays of the backend."""
    if keras.backend.backend() != "tensorflow":
        return partial(reference.apply, xp=ops)
    from rmsprop.keras.graph import GraphedUpdate

    return GraphedUpdate()


def _working_dtype(dtype: Any) -> str:
    return working_dtype(keras.backend.standardize_dtype(dtype))
