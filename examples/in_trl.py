"""TRL: direct preference optimization as its authors trained it, with RMSProp; recipe ``dpo``.

"We use RMSprop because it works about as well as Adam and is more memory-efficient", says their configuration. The
model is tiny and random and the tokenizer is made here, so that nothing is downloaded; its learning rate is larger.
"""

from __future__ import annotations

import tempfile
from copy import deepcopy
from pathlib import Path

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast
from trl import DPOConfig, DPOTrainer

from examples.measuring import Measured, Run, measured
from rmsprop import RECIPES
from rmsprop.torch import RMSprop

STEPS, SAVED = 8, 4
RECIPE = RECIPES["dpo"]
WORDS = ["[PAD]", "[EOS]", "how", "are", "you", "?", "well", ",", "thanks", "no", "bad"]


def tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer of a few words."""
    words = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[PAD]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", eos_token="[EOS]")


def train(optimizer_class: type[torch.optim.Optimizer], folder: Path, resume_from: Path | None = None) -> Run:
    """Train on preferences.

    Args:
        optimizer_class: What trains.
        folder: Where checkpoints go.
        resume_from: The checkpoint to go on from. Default: start anew.
    """
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(WORDS), n_positions=32, n_embd=32, n_layer=1, n_head=2, bos_token_id=1, eos_token_id=1,
        pad_token_id=0, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    )  # fmt: skip
    pairs = [{"prompt": "how are you ?", "chosen": "well , thanks", "rejected": "no bad"}] * 16
    arguments = DPOConfig(
        output_dir=str(folder),
        beta=0.1,
        max_steps=STEPS,
        save_steps=SAVED,
        logging_steps=1,
        per_device_train_batch_size=4,
        max_grad_norm=RECIPE.clipping["max_grad_norm"],
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=2,
        bf16=False,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
    )
    model = GPT2LMHeadModel(config)
    optimizer = optimizer_class(model.parameters(), lr=1e-3, alpha=RECIPE.rule.decay, eps=RECIPE.rule.eps)
    trainer = DPOTrainer(
        model,
        deepcopy(model),  # the reference
        args=arguments,
        train_dataset=Dataset.from_list(pairs),
        processing_class=tokenizer(),
        optimizers=(optimizer, None),
    )
    trainer.train(resume_from_checkpoint=None if resume_from is None else str(resume_from))
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    return Run.of_torch(losses, optimizer)


def main() -> Measured:
    """Train with this package's optimizer, with torch's, and on from a checkpoint of the first."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours = train(RMSprop, folder / "ours")
        theirs = train(torch.optim.RMSprop, folder / "theirs")
        resumed = train(RMSprop, folder / "resumed", resume_from=folder / "ours" / f"checkpoint-{SAVED}")
    return measured("trl", ours, theirs, resumed.losses[SAVED:])


if __name__ == "__main__":
    print(main())
