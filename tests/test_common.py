"""scikit-learn's own contract, for several configurations of each estimator."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from skganem import GANEMClustering, GANEMSemiSupervisedClassifier, GANEMTransformer
from tests.conftest import fast_recipe

SMALL = fast_recipe(max_iter=1, min_e_steps=40, width=8)


def expected_failed(estimator):
    """-1 stands for "unlabeled" here; scikit-learn excuses its own semi-supervised classifiers by their names."""
    if isinstance(estimator, GANEMSemiSupervisedClassifier) and estimator.unlabeled == -1:
        return {"check_classifiers_classes": "uses -1 as a class; passes with another marker, which is checked too"}
    return {}


ESTIMATORS = [
    GANEMClustering(recipe=SMALL),
    GANEMClustering(recipe=SMALL, n_init=2, init="kmeans", augmentation=None),
    GANEMTransformer(n_components=2, recipe=SMALL),
    GANEMSemiSupervisedClassifier(recipe=SMALL),
    GANEMSemiSupervisedClassifier(unlabeled=-999, recipe=SMALL),
]


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks(ESTIMATORS, expected_failed_checks=expected_failed)
def test_check_estimator(estimator, check):
    check(estimator)
