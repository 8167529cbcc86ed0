"""
=======================
Learning from 50 labels
=======================

This example learns from five labeled images of each digit, and some 850 without a label.

``GANEMSemiSupervisedClassifier`` follows scikit-learn's convention: -1 marks an unknown label. ``LabelSpreading`` and
``SelfTrainingClassifier`` do the same. All three get the same labels. The test images are new to all of them.
"""

# %%
# Hide most of the labels
# -----------------------
import matplotlib.pyplot as plt
import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier
from sklearn.svm import SVC

from skganem import GANEMSemiSupervisedClassifier
from skganem.display import GeneratedSamplesDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.5, stratify=y, random_state=0)

rng = np.random.default_rng(0)
known = np.concatenate([rng.choice(np.flatnonzero(y_train == digit), 5, replace=False) for digit in range(10)])
y_partial = np.full_like(y_train, -1)
y_partial[known] = y_train[known]
print(f"{np.sum(y_partial >= 0)} of {len(y_partial)} images have a label")

# %%
# Train and test
# --------------
classifiers = {
    "SVC on the labeled images alone": SVC(),
    "SelfTrainingClassifier(SVC)": SelfTrainingClassifier(CalibratedClassifierCV(SVC(), ensemble=False)),
    "LabelSpreading": LabelSpreading(kernel="knn", n_neighbors=7),
    "GAN-EM": GANEMSemiSupervisedClassifier(image_shape=(8, 8), max_iter=5, random_state=0),
}
errors = {}
for name, classifier in classifiers.items():
    seen = known if name.startswith("SVC") else slice(None)
    errors[name] = 1 - classifier.fit(X_train[seen], y_partial[seen]).score(X_test, y_test)
    print(f"{name:34s} test error {errors[name]:6.1%}")

# %%
# Errors and generated digits
# ---------------------------
# The generator has learned each class from labeled and unlabeled images together. On the right, it draws eight images of each.
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
bars = left.barh(list(errors), [100 * error for error in errors.values()], color=["C7", "C7", "C7", "C0"])
left.bar_label(bars, fmt="%.1f %%", padding=3)
left.set(xlabel="test error in percent", xlim=(0, 125 * max(errors.values())))
GeneratedSamplesDisplay.from_estimator(classifiers["GAN-EM"], n_samples=8, ax=right)
right.set(title="Generated digits of each class")
plt.show()
