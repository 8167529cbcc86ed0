"""What all displays share."""

from sklearn.frozen import FrozenEstimator
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils.validation import check_is_fitted

from skganem._base import BaseGANEM


class Display:
    """A picture that remembers its axes."""

    @classmethod
    def _check(cls, estimator):
        """Return an estimator, unwrapped if it is frozen; raise an error unless it is one of this package's, and fitted."""
        estimator = estimator.estimator if isinstance(estimator, FrozenEstimator) else estimator
        if not isinstance(estimator, BaseGANEM):
            raise TypeError(
                f"{cls.__name__} is for skganem's estimators, got a {type(estimator).__name__}; of a pipeline, give the step "
                "that is one."
            )
        check_is_fitted(estimator)
        return estimator

    def _axes(self, ax):
        """Return the axes to draw on, new ones if None, and remember them and their figure."""
        check_matplotlib_support(f"{type(self).__name__}.plot")
        import matplotlib.pyplot as plt

        self.ax_ = plt.subplots(layout="constrained")[1] if ax is None else ax
        self.figure_ = self.ax_.figure
        return self.ax_
