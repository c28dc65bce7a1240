"""Videos: every frame through the Upscaler, everything else copied. Needs PyAV (`superfine[video]`)."""

from superfine.errors import VideoError

try:
    import av  # noqa: F401
except ModuleNotFoundError as error:
    raise VideoError("videos need PyAV, which is not installed: pip install 'superfine[video]'") from error

from superfine.video.run import DEFAULT_SCALE, Options, Summary, upscale_video

__all__ = ["DEFAULT_SCALE", "Options", "Summary", "upscale_video"]
