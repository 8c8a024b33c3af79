"""A run in each real framework: the same small model, the same gradients, one step at a time.

Every run has the four weights of `WEIGHTS` in float64 and takes gradients that depend on them, so that whatever goes
wrong in a move grows. A run can hand over its state in memory or through its framework's own files, and take it up.
"""

import os
from contextlib import contextmanager

import numpy as np

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from rmsprop import checkpoint

SHAPES = {"a/kernel": (2, 3), "a/bias": (3,), "b/kernel": (3, 1), "b/bias": (1,)}
NAMES = list(SHAPES)
WEIGHTS = {name: np.random.default_rng(7).uniform(1.0, 2.0, shape) for name, shape in SHAPES.items()}


def gradient(step, name, value):
    noise = np.random.default_rng([step, NAMES.index(name)]).standard_normal(value.shape)
    return 0.5 * noise + 0.2 * value


def lr_of(step, changing):
    return 0.01 * 0.9**step if changing else 0.01


class Run:
    """What all runs share; `format` is the checkpoint format, and `suffix` that of its files."""

    suffix = ""

    def __init__(self, settings, weights=WEIGHTS):
        self.settings = settings
        self.start({name: np.array(weight) for name, weight in weights.items()})

    def train(self, steps, changing=False):
        for step in steps:
            grads = {name: gradient(step, name, weight) for name, weight in self.weights().items()}
            self.step(grads, lr_of(step, changing))

    def names_to(self, other):
        return None if self.names == other.names else dict(zip(self.names, other.names, strict=True))

    names = NAMES


class TorchRun(Run):
    suffix = ".pt"

    def optimizer_of(self, params):
        from rmsprop.torch import RMSprop

        return RMSprop(params, lr=1.0, dialect="tensorflow1", **self.keywords())

    format = "rmsprop.torch"

    def keywords(self):
        return {{"decay": "alpha"}.get(name, name): value for name, value in self.settings.items()}

    def start(self, weights):
        import torch

        self.params = {name: torch.nn.Parameter(torch.from_numpy(weight)) for name, weight in weights.items()}
        self.optimizer = self.optimizer_of(list(self.params.items()))

    def weights(self):
        return {name: param.detach().numpy().copy() for name, param in self.params.items()}

    def step(self, grads, lr):
        import torch

        for name, param in self.params.items():
            param.grad = torch.from_numpy(grads[name])
        self.optimizer.param_groups[0]["lr"] = lr
        self.optimizer.step()

    def state(self):
        return self.optimizer.state_dict()

    def like(self):
        return self.optimizer

    def take(self, converted):
        self.optimizer.load_state_dict(converted)

    def write(self, folder):
        import torch

        torch.save({"model": {}, "optimizer": self.state()}, folder / "torch.pt")
        return folder / "torch.pt"

    def read(self, path):
        import torch

        self.take(torch.load(path, weights_only=True))


class TimmRun(TorchRun):
    format = "timm"

    def optimizer_of(self, params):
        from dialects.timm_optimizers import RMSpropTF

        return RMSpropTF(params, lr=1.0, **self.keywords())


class TorchOwnRun(TorchRun):
    format = "torch"

    def optimizer_of(self, params):
        import torch

        keywords = {name: value for name, value in self.keywords().items() if name != "eps_inside_sqrt"}
        return torch.optim.RMSprop(params, lr=0.01, **keywords)


class Sb3Run(TorchRun):
    format = "sb3"

    def optimizer_of(self, params):
        from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike

        return RMSpropTFLike(params, lr=0.01, **self.keywords())


class OptaxRun(Run):
    format = "optax"
    suffix = ".npz"

    def transformation(self, lr):
        import optax

        s = self.settings
        return optax.rmsprop(
            lr,
            decay=s["decay"],
            eps=s["eps"],
            centered=s["centered"],
            momentum=s["momentum"] or None,
            eps_in_sqrt=s.get("eps_inside_sqrt", True),
            nesterov=s.get("nesterov", False),
            bias_correction=s.get("bias_correction", False),
        )

    def start(self, weights):
        import jax.numpy as jnp

        with double_precision():
            self.params = {}
            for name, weight in weights.items():
                layer, _, kind = name.partition("/")
                self.params.setdefault(layer, {})[kind] = jnp.asarray(weight)
            self.opt_state = self.transformation(1.0).init(self.params)

    def weights(self):
        return {f"{layer}/{kind}": np.asarray(w) for layer, ws in self.params.items() for kind, w in ws.items()}

    def step(self, grads, lr):
        import jax.numpy as jnp
        import optax

        with double_precision():
            tree = {
                layer: {kind: jnp.asarray(grads[f"{layer}/{kind}"]) for kind in kinds}
                for layer, kinds in self.params.items()
            }
            updates, self.opt_state = self.transformation(lr).update(tree, self.opt_state, self.params)
            self.params = optax.apply_updates(self.params, updates)

    def state(self):
        return self.opt_state

    def like(self):
        return self.opt_state

    def take(self, converted):
        self.opt_state = converted

    def write(self, folder):
        checkpoint.save(self.opt_state, folder / "optax.npz", self.format)
        return folder / "optax.npz"

    def read(self, path):
        with double_precision():
            self.take(checkpoint.convert(path, self.format, like=self.opt_state))


class JaxRun(OptaxRun):
    format = "rmsprop.jax"

    def transformation(self, lr):
        from rmsprop.jax import rmsprop

        return rmsprop(lr, **self.settings)


@contextmanager
def double_precision():
    import jax

    with jax.enable_x64(True):
        yield


class KerasRun(Run):
    format = "keras"
    suffix = ".keras"

    def optimizer_of(self):
        import keras

        s = self.settings
        return keras.optimizers.RMSprop(
            0.01, rho=s["decay"], epsilon=s["eps"], momentum=s["momentum"], centered=s["centered"]
        )

    def start(self, weights):
        import keras

        layers = [keras.layers.Dense(n, name=name, dtype="float64") for n, name in ((3, "a"), (1, "b"))]
        self.model = keras.Sequential([keras.layers.Input((2,), dtype="float64"), *layers], name="m")
        self.model.compile(self.optimizer_of(), loss="mse")
        self.model.optimizer.build(self.model.trainable_variables)
        self.set_weights(weights)

    def set_weights(self, weights):
        for name, variable in zip(NAMES, self.model.trainable_variables, strict=True):
            variable.assign(weights[name])

    @property
    def names(self):
        return [f"m/{name}" for name in NAMES]

    def weights(self):
        import keras

        values = (keras.ops.convert_to_numpy(variable.value) for variable in self.model.trainable_variables)
        return {name: np.array(value) for name, value in zip(NAMES, values, strict=True)}

    def step(self, grads, lr):
        import keras

        self.model.optimizer.learning_rate = lr
        tensors = [keras.ops.convert_to_tensor(grads[name], dtype="float64") for name in NAMES]
        self.model.optimizer.apply(tensors, self.model.trainable_variables)

    def state(self):
        return self.model.optimizer

    def like(self):
        return self.model.optimizer

    def take(self, converted):
        assert converted is self.model.optimizer

    def write(self, folder):
        self.model.save(folder / f"{self.format}{self.suffix}")
        return folder / f"{self.format}{self.suffix}"

    def read(self, path):
        import keras

        weights = self.weights()
        self.model = keras.models.load_model(path)
        self.set_weights(weights)


class OurKerasRun(KerasRun):
    format = "rmsprop.keras"

    def optimizer_of(self):
        from rmsprop.keras import RMSprop

        names = {"decay": "rho", "eps": "epsilon"}
        return RMSprop(0.01, **{names.get(name, name): value for name, value in self.settings.items()})


class TensorFlowRun(Run):
    """A graph with a session, and a Saver for its files."""

    format = "tensorflow1"

    def start(self, weights):
        import tensorflow as tf

        v1 = tf.compat.v1
        s = self.settings
        with tf.Graph().as_default() as graph:
            self.variables = {name: v1.get_variable(name, initializer=weight) for name, weight in weights.items()}
            self.grads = {name: v1.placeholder(tf.float64, weight.shape) for name, weight in weights.items()}
            self.lr = v1.placeholder(tf.float64, ())
            optimizer = v1.train.RMSPropOptimizer(
                self.lr, decay=s["decay"], momentum=s["momentum"], epsilon=s["eps"], centered=s["centered"]
            )
            self.update = optimizer.apply_gradients([(self.grads[name], self.variables[name]) for name in weights])
            self.saver = v1.train.Saver()
            self.everything = {variable.op.name: variable for variable in v1.global_variables()}
            self.inputs = {name: v1.placeholder(v.dtype, v.shape) for name, v in self.everything.items()}
            self.assign = [variable.assign(self.inputs[name]) for name, variable in self.everything.items()]
            self.session = v1.Session(graph=graph)
            self.session.run(v1.global_variables_initializer())

    def weights(self):
        return self.session.run(self.variables)

    def step(self, grads, lr):
        feed = {self.grads[name]: grad for name, grad in grads.items()}
        self.session.run(self.update, {**feed, self.lr: lr})

    def state(self):
        return self.session.run(self.everything)

    def like(self):
        return self.state()

    def take(self, converted):
        self.set(converted | self.weights())

    def set(self, values):
        self.session.run(self.assign, {self.inputs[name]: value for name, value in values.items()})

    def write(self, folder):
        with self.session.graph.as_default():
            return self.saver.save(self.session, str(folder / "tf"), write_meta_graph=False)

    def read(self, path):
        own = self.weights()
        with self.session.graph.as_default():
            self.saver.restore(self.session, str(path))
        self.set(self.state() | own)


RUNS = {
    "rmsprop.torch": TorchRun,
    "timm": TimmRun,
    "torch": TorchOwnRun,
    "sb3": Sb3Run,
    "optax": OptaxRun,
    "rmsprop.jax": JaxRun,
    "keras": KerasRun,
    "rmsprop.keras": OurKerasRun,
    "tensorflow1": TensorFlowRun,
}
