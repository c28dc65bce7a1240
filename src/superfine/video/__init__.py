"""Upscale every frame of a video and copy everything else. Needs PyAV (`superfine[video]`)."""

from superfine.errors import VideoError

try:
    import av  # noqa: F401
except ModuleNotFoundError as error:
    raise VideoError("videos need PyAV, which is not installed: pip install 'superfine[video]'") from error

from superfine.video.run import Options, Summary, upscale_video

__all__ = ["Options", "Summary", "upscale_video"]
