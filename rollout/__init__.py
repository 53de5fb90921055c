"""What TorchServe serves: the archives of a model store, their default version, and how TorchServe is launched."""
