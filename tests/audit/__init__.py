"""Bandit, advisories, licences and TorchServe's jar: ``python -m tests.audit`` looks at all of them."""
