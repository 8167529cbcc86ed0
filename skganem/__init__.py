"""GAN-EM as scikit-learn estimators: clustering, few-label classification and features of images and rows."""

from skganem._clustering import GANEMClustering
from skganem._duplicates import find_duplicates
from skganem._io import load, save
from skganem._semi_supervised import GANEMSemiSupervisedClassifier
from skganem._transformer import GANEMTransformer
from skganem.core.data.dataset_array import DatasetArray
from skganem.core.data.image_files import ImageFiles
from skganem.core.features.transforms import ImageWarp
from skganem.core.networks.architectures import Networks
from skganem.core.recipe import Recipe
from skganem.metrics import clustering_error

__version__ = "0.1.0"

__all__ = [
    "DatasetArray",
    "GANEMClustering",
    "GANEMSemiSupervisedClassifier",
    "GANEMTransformer",
    "ImageFiles",
    "ImageWarp",
    "Networks",
    "Recipe",
    "clustering_error",
    "find_duplicates",
    "load",
    "save",
]
