"""Hugging Face's Trainer: the optimizer by ``optimizer_cls_and_kwargs``, clipping, checkpoints, and going on from one.

The Trainer sorts parameters into groups with and without weight decay by itself. The model is tiny and starts from
random weights, so that nothing is downloaded.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

from examples.measuring import Measured, Run, measured
from rmsprop.torch import RMSprop

STEPS, SAVED = 12, 6


class Counting(torch.utils.data.Dataset):
    """Sequences of numbers that count up, each from another start."""

    def __len__(self) -> int:
        """Return how many there are."""
        return 64

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """Return one of them, which is its own label."""
        tokens = (torch.arange(16) + index) % 32
        return {"input_ids": tokens, "labels": tokens}


def train(optimizer_class: type[torch.optim.Optimizer], folder: Path, resume_from: Path | None = None) -> Run:
    """Train a language model that learns to count.

    Args:
        optimizer_class: What trains.
        folder: Where checkpoints go.
        resume_from: The checkpoint to go on from. Default: start anew.
    """
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=STEPS,
        save_steps=SAVED,
        logging_steps=1,
        per_device_train_batch_size=8,
        weight_decay=0.01,
        max_grad_norm=1.0,
        lr_scheduler_type="cosine",
        warmup_steps=2,
        seed=0,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
    )
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=32, n_positions=16, n_embd=32, n_layer=1, n_head=2))
    trainer = Trainer(
        model,
        arguments,
        train_dataset=Counting(),
        optimizer_cls_and_kwargs=(optimizer_class, {"lr": 3e-3, "alpha": 0.9}),
    )
    trainer.train(resume_from_checkpoint=None if resume_from is None else str(resume_from))
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    return Run.of_torch(losses, trainer.optimizer.optimizer)


def main() -> Measured:
    """Train with this package's optimizer, with torch's, and on from a checkpoint of the first."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours = train(RMSprop, folder / "ours")
        theirs = train(torch.optim.RMSprop, folder / "theirs")
        resumed = train(RMSprop, folder / "resumed", resume_from=folder / "ours" / f"checkpoint-{SAVED}")
    return measured("transformers", ours, theirs, resumed.losses[SAVED:])


if __name__ == "__main__":
    print(main())
