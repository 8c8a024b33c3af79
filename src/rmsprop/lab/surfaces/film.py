"""The walk as a film: the picture's panels, a step per frame, as GIF or MP4."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rmsprop.files import replacing, write_atomically
from rmsprop.lab.drawing import empty_figure
from rmsprop.lab.errors import InputError
from rmsprop.lab.surfaces.picture import Layout, Scene, paint, paint_walk

# A longer walk skips steps, so that a film takes about ten seconds and can still be mailed.
MOST_FRAMES = 100
_FRAMES_PER_SECOND, _LAST_SECONDS = 10, 2
_DPI = 100


def frames(scene: Scene) -> list[int]:
    """Return the steps that a film shows, evenly spaced, the first and the last among them.

    Args:
        scene: What to show.

    Returns:
        The steps.
    """
    steps = scene.walks[0].steps
    return sorted({round(step) for step in np.linspace(0, steps, min(steps, MOST_FRAMES) + 1)})


def film(scene: Scene, path: Path, on_frame: Callable[[], object] = lambda: None) -> None:
    """Write the walk as a film.

    Args:
        scene: What to show.
        path: The file, ``.gif`` or ``.mp4``; it is written whole or not at all.
        on_frame: Called after each frame. Default: nothing.

    Raises:
        InputError: If MP4 is asked for and the encoder isn't installed.
        OSError: If the file can't be written.
    """
    (_write_mp4 if path.suffix.lower() == ".mp4" else _write_gif)(scene, path, on_frame)


def images(scene: Scene) -> Iterator[np.ndarray]:
    """Draw the frames, one for each of `frames`.

    Args:
        scene: What to show.

    Yields:
        Rows × columns × red, green, blue, in bytes; rows and columns are even, as video asks for.
    """
    with empty_figure(Layout.of(scene).size, dpi=_DPI) as figure:
        canvas: Any = figure.canvas
        panels = paint(figure, scene, walking=True)
        canvas.draw()
        ground = canvas.copy_from_bbox(figure.bbox)
        for step in frames(scene):
            canvas.restore_region(ground)
            for axes, walk in zip(panels, scene.walks, strict=True):
                for artist in paint_walk(axes, walk, step):
                    axes.draw_artist(artist)
                    artist.remove()
            image = np.asarray(canvas.buffer_rgba())[:, :, :3]
            yield np.ascontiguousarray(image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2])


def _write_gif(scene: Scene, path: Path, on_frame: Callable[[], object]) -> None:
    from PIL import Image

    pictures = []
    for image in images(scene):
        pictures.append(Image.fromarray(image))
        on_frame()
    palette = _palette(pictures[-1])
    indexed = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    durations = [1000 // _FRAMES_PER_SECOND] * (len(indexed) - 1) + [1000 * _LAST_SECONDS]
    content = io.BytesIO()
    indexed[0].save(content, "GIF", save_all=True, append_images=indexed[1:], duration=durations, loop=0)
    write_atomically(path, content.getvalue())


def _palette(picture: Any) -> Any:
    """Return the most frequent colours of the last frame, exactly: averages of colours would turn orange brown.

    Pillow looks a colour up by its upper five bits, so that only one of those that share them is of use.
    """
    from PIL import Image

    distinct: dict[tuple[int, ...], tuple[int, ...]] = {}
    for _, colour in sorted(picture.getcolors(picture.width * picture.height), reverse=True):
        distinct.setdefault(tuple(channel >> 3 for channel in colour), colour)
    palette = Image.new("P", (1, 1))
    palette.putpalette([channel for colour in list(distinct.values())[:256] for channel in colour])
    return palette


def _write_mp4(scene: Scene, path: Path, on_frame: Callable[[], object]) -> None:
    try:
        from imageio_ffmpeg import write_frames
    except ModuleNotFoundError:
        raise InputError(f"{path.name} needs an encoder: pip install 'rmsprop[film]', or write a .gif") from None
    drawn = images(scene)
    first = next(drawn)
    with replacing(path) as temporary:
        # yuv420p plays everywhere; the index at the front lets a browser begin before it has the whole file.
        options = ["-f", "mp4", "-movflags", "+faststart"]
        size = first.shape[1], first.shape[0]
        writer = write_frames(
            str(temporary), size, fps=_FRAMES_PER_SECOND, macro_block_size=2, output_params=options, quality=7
        )
        writer.send(None)
        try:
            last = first
            for image in (first, *drawn):
                writer.send(image)
                last = image
                on_frame()
            for _ in range(_FRAMES_PER_SECOND * _LAST_SECONDS):
                writer.send(last)
        finally:
            writer.close()
