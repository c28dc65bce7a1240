"""Pictures through a network: plan tiles, run them, stitch them, and bring the result to its size."""

from superfine.upscaling.tiled import TiledUpscaler
from superfine.upscaling.tiles import Box, Tile, choose_tile, plan_tiles
from superfine.upscaling.upscaler import Upscaler, upscale

__all__ = ["Box", "Tile", "TiledUpscaler", "Upscaler", "choose_tile", "plan_tiles", "upscale"]
