"""Smaller weights for a GGUF: which to keep, what they become, what that costs (`steerway compress`).

The only part of Steerway that needs torch, which is an extra: `pip install 'steerway[compress]'`.
"""
