"""Training the embedded nano model: procedural exercises, the training loop, export, evaluation.

The generators need nothing but the base install; torch and transformers are imported only by the
modules that train (`kernels`, `loop`, `export`, `train_nano`).
"""
