"""Is RMSProp good or bad at sparse features? Seven optimizers on two problems whose parameters are embeddings.

    out=benchmarks/results/<date>-<machine>-sparse-features
    names=rmsprop,rmsprop-sparse,rmsprop-lazy,adagrad,adam,sparse-adam,sgd
    for problem in ratings words; do
        rmsprop compare $problem --optimizers $names --seeds 12 --out $out/$problem
    done
    python -m benchmarks.sparse_features $out

The protocol, as it was decided before the first run:

- The comparison is that of `rmsprop compare`: five trials of the learning rate alone in each of three studies, widened
  once where the best lies at an end, for every optimizer; 12 seeds that weren't tuned on; defaults beside. What counts
  is the best validation loss, and the paired difference against RMSProp.
- This program trains the tuned settings of the same seeds again, one run at a time, as PyTorch gives the gradients:
  rows where the optimizer takes them. It splits the test rows into thirds of equal size by how often their id is among
  the training rows (the item's of a rating, the first word's of a pair) and prints the test loss of each third at the
  epoch of the best validation loss (squared error without the penalty; the negative-sampling loss), and the processor
  time of an epoch by turns.
- Nothing is left out: the problems, their sizes and epochs are as committed with this text.

Expected: dense and rows give RMSProp the same curve. A row that wasn't touched for k steps has v decayed by 0.99^k, so
that the next step is up to ten times the learning rate, however often it was touched: rare ids never settle, and
RMSProp is behind AdaGrad on the rarest third and little elsewhere. Lazy rows divide by what the row itself has seen,
and come nearer to AdaGrad. Adam moves a rare row for many steps after its one gradient, and does no better; SparseAdam
is better than Adam there. SGD doesn't scale the steps of rare ids up: behind everyone on words, near them on ratings.
Rows are no faster than dense gradients with so small tables.
"""
