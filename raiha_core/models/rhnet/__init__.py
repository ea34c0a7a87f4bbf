"""`rhnet`: the paper's network, with its content prior."""

from .network import Output, RHNet, infer_config

__all__ = ["Output", "RHNet", "infer_config"]
