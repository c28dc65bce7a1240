"""Two names for every tensor: the authors' (upstream) and ours, which are those of the modules in nets/.

Upstream's names live here and nowhere else.
"""

from __future__ import annotations

from superfine.nets import CFSRCNNConfig, ESRGCNNConfig, NetworkConfig

MEAN_KEYS = {"sub_mean.shifter.weight", "sub_mean.shifter.bias", "add_mean.shifter.weight", "add_mean.shifter.bias"}
"""The picture's mean as 1x1 convolutions: fixed values, which our networks keep in code, so a file may lack them."""


def upstream_keys(config: NetworkConfig, *, parallel: bool) -> dict[str, str]:
    """Upstream key → our key, for every tensor of the network but the mean.

    `parallel` names the all-scale upsamplers (`up2`, `up3`, `up4`); otherwise the one-scale `up`.
    """
    table = _esrgcnn(config) if isinstance(config, ESRGCNNConfig) else _cfsrcnn(config)
    for scale in config.scales:
        branch = f"up{scale}" if parallel else "up"
        for step in range(2 if scale == 4 else 1):
            # a pixel shuffle stands after every convolution, hence body.0 and body.2
            for part in ("weight", "bias"):
                theirs = f"upsample.{branch}.body.{2 * step}.{part}"
                table[theirs] = f"upsampler.branches.x{scale}.{step}.{part}"
    return table


def _esrgcnn(config: ESRGCNNConfig) -> dict[str, str]:
    table = {"conv1_1.0.weight": "head.weight"}
    for block in range(config.blocks):
        for conv in range(1, 7):
            table[f"b{block + 1}.conv1_{conv}.0.weight"] = f"blocks.{block}.conv{conv}.weight"
    return table | {"conv2.0.weight": "fuse.weight", "conv3.0.weight": "tail.weight"}


def _cfsrcnn(config: CFSRCNNConfig) -> dict[str, str]:
    """Upstream numbers its convolutions through: with the paper's 16 units, conv2 ... conv33 are the units, conv34
    gathers, conv35 ... conv39 enhance, conv34_1 ... conv34_5 refine and conv41 (two further on) is the tail."""
    table = {"conv1.0.weight": "head.weight"}
    for unit in range(config.units):
        table[f"conv{2 * unit + 2}.0.weight"] = f"compress.{unit}.weight"
        table[f"conv{2 * unit + 3}.0.weight"] = f"extract.{unit}.weight"
    gather = 2 * config.units + 2
    table[f"conv{gather}.0.weight"] = "gather.weight"
    for i in range(config.enhance):
        table[f"conv{gather + 1 + i}.0.weight"] = f"enhance.{i}.weight"
    for i in range(config.refine):
        table[f"conv{gather}_{i + 1}.0.weight"] = f"refine.{i}.weight"
    table[f"conv{gather + config.enhance + 2}.0.weight"] = "tail.weight"
    return table


def our_keys(config: NetworkConfig, *, parallel: bool) -> dict[str, str]:
    """The table of files that already use our names: every key is its own translation."""
    return {ours: ours for ours in upstream_keys(config, parallel=parallel).values()}
