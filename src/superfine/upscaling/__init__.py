"""Pictures through a network: plan tiles, run them, stitch them."""

from superfine.upscaling.tiled import Upscaler, upscale
from superfine.upscaling.tiles import Box, Tile, choose_tile, plan_tiles

__all__ = ["Box", "Tile", "Upscaler", "choose_tile", "plan_tiles", "upscale"]
