import pytest

from skganem.core.data.shapes import downsampling_factor, is_image, n_halvings


def test_rows_have_one_dimension_and_images_three():
    assert is_image((1, 8, 8))
    assert not is_image((64,))


@pytest.mark.parametrize(("side", "factor"), [(8, 1), (63, 1), (64, 2), (95, 2), (96, 3)])
def test_images_of_64_pixels_or_more_are_downsampled(side, factor):
    assert downsampling_factor((3, side, 200)) == downsampling_factor((3, 200, side)) == factor


@pytest.mark.parametrize(("side", "until", "count"), [(4, 4, 0), (5, 4, 1), (28, 4, 3), (64, 4, 4), (45, 7, 3)])
def test_sides_are_halved_rounding_up(side, until, count):
    assert n_halvings(side, until) == count
