"""Measuring: data sets, metrics, baselines, tables and contact sheets."""

from .datasets import Dataset, IHarmony4, Item, TripletFolder, open_dataset
from .methods import Method, model_method, own_references, positive_crop, synthetic_references
from .metrics import ALL, FAST, measure
from .report import Report, Row
from .runner import Resolution, evaluate, evaluate_model, load_item

__all__ = [
    "ALL",
    "FAST",
    "Dataset",
    "IHarmony4",
    "Item",
    "Method",
    "Report",
    "Resolution",
    "Row",
    "TripletFolder",
    "evaluate",
    "evaluate_model",
    "load_item",
    "measure",
    "model_method",
    "open_dataset",
    "own_references",
    "positive_crop",
    "synthetic_references",
]
