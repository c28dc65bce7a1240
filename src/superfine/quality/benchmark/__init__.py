"""Measuring models on sets of pictures: `run(Request(...))` gives a Result, which goes to tables, JSON and pages."""

from superfine.quality.benchmark.methods import INTERPOLATIONS
from superfine.quality.benchmark.result import Result, from_json, load, save, to_json
from superfine.quality.benchmark.run import Request, run

__all__ = ["INTERPOLATIONS", "Request", "Result", "from_json", "load", "run", "save", "to_json"]
