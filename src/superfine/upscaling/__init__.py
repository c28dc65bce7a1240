"""Pictures through a network: plan tiles, run them, stitch them, and bring the result to its size."""

from superfine.upscaling.one_call import upscale
from superfine.upscaling.slider import Comparison, compare
from superfine.upscaling.tiled import TiledUpscaler
from superfine.upscaling.tiles import Box, Tile, choose_tile, plan_tiles
from superfine.upscaling.upscaler import Upscaler

__all__ = [
    "Box",
    "Comparison",
    "Tile",
    "TiledUpscaler",
    "Upscaler",
    "choose_tile",
    "compare",
    "plan_tiles",
    "upscale",
]
