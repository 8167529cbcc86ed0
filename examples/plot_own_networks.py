"""
=================
Your own networks
=================

GAN-EM works with any networks. This example replaces the default E-net and discriminator with small residual networks. The
generator, the losses and the EM loop stay the same.
"""

# %%
# The networks
# ------------
# A factory takes the shape of a sample, (channels, height, width), and the number of filters. It returns a module that maps a
# batch to features (n, m). GAN-EM adds the output layer of K or K + 1 units.
import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from torch import nn

from skganem import GANEMClustering, Networks, Recipe, clustering_error
from skganem.display import ClusterConfusionDisplay, GeneratedSamplesDisplay


class Residual(nn.Module):
    """Two convolutions with a skip connection."""

    def __init__(self, width):
        super().__init__()
        self.change = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(width, width, 3, padding=1)
        )

    def forward(self, x):
        return nn.functional.leaky_relu(x + self.change(x), 0.2)


def residual_features(shape, width):
    channels = shape[0]
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1), nn.LeakyReLU(0.2), Residual(width),
        nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), nn.LeakyReLU(0.2), Residual(2 * width),
        nn.Flatten(),
    )  # fmt: skip


# %%
# Use them in a recipe
# --------------------
# A recipe holds all settings of networks and training. ``but`` changes some of them. Three digits keep the example fast.
digits = load_digits(n_class=3)
recipe = Recipe().but(networks=Networks(discriminator=residual_features, e_net=residual_features), width=16)
model = GANEMClustering(n_clusters=3, recipe=recipe, random_state=0).fit(digits.images)
print(f"error {clustering_error(digits.target, model.labels_):.1%}")
print(f"parameters of the E-net: {sum(p.numel() for p in residual_features((1, 8, 8), 16).parameters())}, without its output")

# %%
# Results
# -------
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
GeneratedSamplesDisplay.from_estimator(model, n_samples=12, random_state=0, ax=left)
left.set(title="Generated, a cluster in each row")
ClusterConfusionDisplay.from_estimator(model, digits.images, digits.target, ax=right)
right.set(title="Images by class and cluster")
plt.show()
