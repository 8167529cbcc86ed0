"""What all displays share."""

import numpy as np
from sklearn.utils._optional_dependencies import check_matplotlib_support

from skganem._base import own_estimator


class Display:
    """A picture that remembers its axes."""

    @classmethod
    def _check(cls, estimator):
        """Return an estimator, unwrapped if it is frozen; raise an error unless it is one of this package's, and fitted."""
        return own_estimator(estimator, cls.__name__)

    def _axes(self, ax, **settings):
        """Return the axes to draw on, new ones of a figure with these settings if None; remember them and their figure."""
        check_matplotlib_support(f"{type(self).__name__}.plot")
        import matplotlib.pyplot as plt

        self.ax_ = plt.subplots(layout="constrained", **settings)[1] if ax is None else ax
        self.figure_ = self.ax_.figure
        return self.ax_


def scale_images(images, low, high):
    """Return images (n, h, w) or (n, h, w, c) with low as 0 and high as 1; of two or of five channels and more, their mean."""
    images = (np.asarray(images, dtype=float) - low) / ((high - low) or 1.0)
    return images.mean(axis=3) if images.ndim == 4 and images.shape[3] not in (3, 4) else images
