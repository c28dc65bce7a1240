"""Measure models on sets of pictures: `run(Request(...))` gives a Result, which goes to tables, JSON and pages."""

from superfine.benchmark.methods import INTERPOLATIONS
from superfine.benchmark.result import Result, check_writable, from_json, load, save, to_json
from superfine.benchmark.run import Request, run

__all__ = ["INTERPOLATIONS", "Request", "Result", "check_writable", "from_json", "load", "run", "save", "to_json"]
