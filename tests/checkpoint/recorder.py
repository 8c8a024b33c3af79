"""Checkpoints as training programs write them, recorded once: small ones, and beside them what is in them.

It runs in an environment of its own that also holds pytorch-lightning, transformers, accelerate, stable-baselines3,
gymnasium and timm:

    cd tests && python -m checkpoint.recorder
"""

import importlib.metadata
import json
import os
import shutil
import tempfile
import types
import zipfile
from pathlib import Path

import torch
import torch._dynamo  # before TensorFlow, if that is there: the other way round crashes

RECORDED = Path(__file__).resolve().parent / "recorded"
PACKAGES = ("torch", "pytorch-lightning", "transformers", "accelerate", "stable-baselines3", "timm")


def model():
    torch.manual_seed(0)
    return torch.nn.Linear(3, 2)


def rmsprop(parameters):
    return torch.optim.RMSprop(parameters, lr=0.01, alpha=0.9, momentum=0.5)


def batches():
    return [torch.randn(4, 3, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]


def lightning(out):
    """One optimizer, with hyperparameters, callbacks and loops beside it."""
    import pytorch_lightning as pl

    class Module(pl.LightningModule):
        def __init__(self, width=3, lr=0.01):
            super().__init__()
            self.save_hyperparameters()
            self.layer = model()

        def training_step(self, batch, _):
            return self.layer(batch).square().sum()

        def configure_optimizers(self):
            return rmsprop(self.parameters())

    return _fitted(Module(), out)


def lightning_two(out):
    """Two optimizers, as a GAN has them."""
    import pytorch_lightning as pl

    class Module(pl.LightningModule):
        automatic_optimization = False

        def __init__(self):
            super().__init__()
            self.first, self.second = model(), model()

        def training_step(self, batch, _):
            for layer, optimizer in zip((self.first, self.second), self.optimizers(), strict=True):
                optimizer.zero_grad()
                self.manual_backward(layer(batch).square().sum())
                optimizer.step()

        def configure_optimizers(self):
            return rmsprop(self.first.parameters()), torch.optim.RMSprop(self.second.parameters(), lr=0.001)

    return _fitted(Module(), out)


def _fitted(module, out):
    import pytorch_lightning as pl

    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = pl.Trainer(max_epochs=1, accelerator="cpu", default_root_dir=out.parent, **quiet)
    trainer.fit(module, torch.utils.data.DataLoader(batches(), batch_size=None))
    trainer.save_checkpoint(out)
    return trainer.optimizers


def hf_trainer(out):
    """The optimizer.pt in a checkpoint folder of transformers' Trainer."""
    from transformers import Trainer, TrainingArguments

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = model()

        def forward(self, x=None):
            return {"loss": self.layer(x).square().sum()}

    whole = Model()
    optimizer = rmsprop(whole.parameters())
    arguments = TrainingArguments(
        out.parent, max_steps=3, save_steps=3, report_to=[], use_cpu=True, max_grad_norm=0.0, disable_tqdm=True
    )
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    data = [{"x": batch} for batch in batches()]
    trainer = Trainer(whole, arguments, train_dataset=data, optimizers=(optimizer, schedule))
    trainer.train()
    shutil.copyfile(out.parent / "checkpoint-3" / "optimizer.pt", out)
    return [optimizer]


def accelerate(out):
    """The optimizer.bin in a folder of accelerate's save_state."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    layer = model()
    layer, optimizer = accelerator.prepare(layer, rmsprop(layer.parameters()))
    for batch in batches():
        optimizer.zero_grad()
        accelerator.backward(layer(batch).square().sum())
        optimizer.step()
    accelerator.save_state(out.parent / "state")
    shutil.copyfile(out.parent / "state" / "optimizer.bin", out)
    return [optimizer.optimizer]


def sb3(out):
    """A2C with the optimizer that its documentation recommends."""
    from stable_baselines3 import A2C
    from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike

    policy = {"net_arch": [2], "optimizer_class": RMSpropTFLike, "optimizer_kwargs": {"eps": 1e-5}}
    agent = A2C("MlpPolicy", "CartPole-v1", n_steps=5, seed=0, policy_kwargs=policy)
    agent.learn(20).save(out)
    return [agent.policy.optimizer]


def sb3_torch(out):
    """A2C as it comes, with torch's RMSprop."""
    from stable_baselines3 import A2C

    agent = A2C("MlpPolicy", "CartPole-v1", n_steps=5, seed=0, policy_kwargs={"net_arch": [2]})
    agent.learn(20).save(out)
    return [agent.policy.optimizer]


def sb3_several(out):
    """SAC: an actor, a critic and a temperature, each with an optimizer."""
    from stable_baselines3 import SAC

    policy = {"net_arch": [2], "optimizer_class": torch.optim.RMSprop}
    agent = SAC("MlpPolicy", "Pendulum-v1", learning_starts=2, batch_size=2, buffer_size=20, policy_kwargs=policy)
    agent.learn(6).save(out)
    return [agent.actor.optimizer, agent.critic.optimizer]


def timm(out):
    """timm's training script: the saver writes optimizer, weights, arguments and the metric."""
    from argparse import Namespace

    from dialects.timm_optimizers import RMSpropTF
    from timm.utils import CheckpointSaver

    layer = model()
    optimizer = RMSpropTF(layer.parameters(), lr=0.01, alpha=0.9, momentum=0.9, eps=1e-3)
    for batch in batches():
        optimizer.zero_grad()
        layer(batch).square().sum().backward()
        optimizer.step()
    arguments = Namespace(model="efficientnet_b0", opt="rmsproptf", lr=0.01)
    saver = CheckpointSaver(layer, optimizer, args=arguments, checkpoint_dir=str(out.parent))
    saver.save_checkpoint(0, metric=0.5)
    shutil.copyfile(out.parent / "last.pth.tar", out)
    return [optimizer]


WRITERS = types.MappingProxyType(
    {
        "lightning.ckpt": lightning,
        "lightning_two.ckpt": lightning_two,
        "hf_trainer_optimizer.pt": hf_trainer,
        "accelerate_optimizer.bin": accelerate,
        "sb3.zip": sb3,
        "sb3_torch.zip": sb3_torch,
        "sb3_several.zip": sb3_several,
        "timm.pth.tar": timm,
    }
)


def _state(optimizer):
    """Return an optimizer's averages and steps as numbers."""
    states = optimizer.state_dict()["state"]
    return [{name: torch.as_tensor(value).tolist() for name, value in state.items()} for state in states.values()]


def _copy(file, copy):
    """Copy a file; without what Stable-Baselines3 says of the machine."""
    if file.suffix != ".zip":
        shutil.copyfile(file, copy)
        return
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(copy, "w") as new:
        for item in old.infolist():
            if item.filename != "system_info.txt":
                new.writestr(item, old.read(item))


def main():
    versions = {package: importlib.metadata.version(package) for package in PACKAGES}
    contents = {}
    for name, write in WRITERS.items():
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / name
            os.chdir(folder)
            optimizers = write(out)
            _copy(out, RECORDED / name)
            contents[name] = [_state(optimizer) for optimizer in optimizers]
    text = json.dumps({"versions": versions, "contents": contents})
    (RECORDED / "contents.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
