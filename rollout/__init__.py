"""Which version answers whom: what is in the model store, and how TorchServe is told. Knows no tensors."""
