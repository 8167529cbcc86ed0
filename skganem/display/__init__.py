"""Pictures of fitted estimators, by scikit-learn's convention: ``SomeDisplay.from_estimator(...)``.

matplotlib is imported only when something is drawn.
"""

from skganem.display._clusters import ClusterConfusionDisplay, FeatureMapDisplay
from skganem.display._gallery import ClusterGalleryDisplay
from skganem.display._number import NumberOfClustersDisplay
from skganem.display._training import EMHistoryDisplay, GeneratedSamplesDisplay

__all__ = [
    "ClusterConfusionDisplay",
    "ClusterGalleryDisplay",
    "EMHistoryDisplay",
    "FeatureMapDisplay",
    "GeneratedSamplesDisplay",
    "NumberOfClustersDisplay",
]
