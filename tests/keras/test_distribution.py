"""Keras' distribution API on the JAX backend: data and model split over eight devices train as one device does."""

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("jax")
SCRIPT = """
import json, sys
import keras, numpy as np
from keras.distribution import DataParallel, DeviceMesh, LayoutMap, ModelParallel, list_devices, set_distribution
from rmsprop.keras import RMSprop

random = np.random.default_rng(0)
x, y = random.standard_normal((64, 8)).astype("float32"), random.standard_normal((64, 1)).astype("float32")

def distribution(kind):
    if kind == "data":
        return DataParallel(devices=list_devices("cpu"))
    mesh = DeviceMesh((4, 2), ("batch", "model"), list_devices("cpu"))
    layout = LayoutMap(mesh)
    layout[".*hidden/kernel"] = (None, "model")
    layout[".*hidden/bias"] = ("model",)
    return ModelParallel(layout_map=layout, batch_dim_name="batch")

def fit(kind):
    set_distribution(None if kind == "one" else distribution(kind))
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16, "relu", name="hidden"), keras.layers.Dense(1)])
    model.compile(RMSprop(1e-2, momentum=0.5, centered=True), loss="mse")
    losses = model.fit(x, y, batch_size=32, epochs=3, shuffle=False, verbose=0).history["loss"]
    states = {v.path.split("/", 1)[1]: v.value.sharding for v in model.optimizer.variables}
    split = sorted(name for name, sharding in states.items() if "model" in str(getattr(sharding, "spec", "")))
    devices = {len(sharding.device_set) for sharding in states.values()}
    return {"losses": losses, "split": split, "devices": sorted(devices)}

print(json.dumps({kind: fit(kind) for kind in ("one", "data", "model")}))
"""


@pytest.fixture(scope="module")
def found():
    flags = {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "JAX_PLATFORMS": "cpu",
        "KERAS_BACKEND": "jax",
    }
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, env={**os.environ, **flags})
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


# Six steps; in each, sums over the batch in another order differ by a few roundings of 2⁻²⁴ of what is added, and
# centered steps divide by a difference of two averages, of about a hundredth of either when they begin.
BOUND = 6 * 4 * 100 * 2.0**-24


@pytest.mark.parametrize("kind", ["data", "model"])
def test_it_trains_as_on_one_device(kind, found):
    assert found[kind]["losses"] == pytest.approx(found["one"]["losses"], rel=BOUND)


def test_state_lies_where_its_variables_do(found):
    assert found["one"]["devices"] == [1]
    assert found["data"] | {"losses": None} == {"losses": None, "split": [], "devices": [8]}
    averages = ("average_gradient", "momentum", "variance")
    assert {name.rsplit("_", 1)[-1] for name in found["model"]["split"]} >= {"momentum", "variance"}
    assert len(found["model"]["split"]) == 2 * len(averages)
