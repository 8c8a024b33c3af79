"""The walk as GIF and MP4."""

import sys
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from rmsprop.lab.errors import InputError
from rmsprop.lab.problems.builtin.surfaces import SURFACES
from rmsprop.lab.surfaces.choices import Values, walks
from rmsprop.lab.surfaces.film import film, frames, images
from rmsprop.lab.surfaces.picture import Scene


@pytest.fixture(scope="module")
def scene():
    bowl = SURFACES["bowl"]
    return Scene(name="bowl", surface=bowl, walks=walks(bowl, ["sgd", "rmsprop"], lr=Values(plain=0.4), steps=6)[0])


@pytest.mark.parametrize(("steps", "count", "first"), [(1, 2, [0, 1]), (6, 7, [0, 1, 2]), (1000, 101, [0, 10, 20])])
def test_frames_are_the_steps_or_some_of_them(scene, steps, count, first):
    found = frames(Scene(name="bowl", surface=scene.surface, walks=walks(scene.surface, ["sgd"], steps=steps)[0]))
    assert (len(found), found[: len(first)], found[-1]) == (count, first, steps)


def test_a_frame_adds_to_the_one_before(scene):
    drawn = list(images(scene))
    assert all(image.shape == drawn[0].shape and image.dtype == np.uint8 for image in drawn)
    assert all(side % 2 == 0 for side in drawn[0].shape[:2])
    changed = [np.any(a != b) for a, b in pairwise(drawn)]
    assert all(changed)
    assert np.count_nonzero(drawn[-1] != drawn[0]) > np.count_nonzero(drawn[1] != drawn[0])


def test_a_gif_plays_every_frame_in_true_colours(scene, tmp_path):
    told = []
    film(scene, tmp_path / "walk.gif", lambda: told.append(1))
    with Image.open(tmp_path / "walk.gif") as gif:
        assert (gif.n_frames, len(told), gif.info["loop"]) == (7, 7, 0)
        assert gif.info["duration"] == 100
        gif.seek(6)
        assert gif.info["duration"] == 2000
        colours = {colour for _, colour in gif.convert("RGB").getcolors(1 << 24)}
    assert {(255, 255, 255), (0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)} <= colours


def test_an_mp4_has_every_frame_and_rests_on_the_last(scene, tmp_path):
    from imageio_ffmpeg import count_frames_and_secs

    film(scene, tmp_path / "walk.mp4")
    assert count_frames_and_secs(str(tmp_path / "walk.mp4")) == (7 + 20, pytest.approx(2.7, abs=0.01))
    assert [path.name for path in tmp_path.iterdir()] == ["walk.mp4"]


def test_without_the_encoder_the_error_says_what_to_install(scene, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(InputError) as caught:
        film(scene, tmp_path / "walk.mp4")
    assert str(caught.value) == "walk.mp4 needs an encoder: pip install 'rmsprop[film]', or write a .gif"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["walk.gif", "walk.mp4"])
def test_an_interrupted_film_leaves_the_old_one(scene, tmp_path, name):
    def interrupt():
        raise KeyboardInterrupt

    (tmp_path / name).write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        film(scene, tmp_path / name, interrupt)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]
