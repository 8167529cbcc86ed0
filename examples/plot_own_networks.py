"""
==================
One's own networks
==================

GAN-EM leaves open what the networks are. Here an E-net and a discriminator of one's own, a small residual network each, take
the place of the default ones; generator, losses and EM loop stay as they are.
"""

# %%
# The networks
# ------------
# A factory gets the shape of a sample, (channels, height, width), and the number of filters, and returns a module that maps a
# batch to features (n, m). The output layer, of K or K + 1 units, is added to it.
import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from torch import nn

from skganem import GANEMClustering, Networks, Recipe, clustering_error
from skganem.display import ClusterConfusionDisplay, GeneratedSamplesDisplay


class Residual(nn.Module):
    """Two convolutions, beside which the input passes unchanged."""

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
# Where they go
# -------------
# A recipe holds all settings of networks and training; ``but`` changes some. Three digits, to be quick.
digits = load_digits(n_class=3)
recipe = Recipe().but(networks=Networks(discriminator=residual_features, e_net=residual_features), width=16)
model = GANEMClustering(n_clusters=3, recipe=recipe, random_state=0).fit(digits.images)
print(f"error {clustering_error(digits.target, model.labels_):.1%}")
print(f"parameters of the E-net: {sum(p.numel() for p in residual_features((1, 8, 8), 16).parameters())}, without its output")

# %%
# What came out
# -------------
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
GeneratedSamplesDisplay.from_estimator(model, n_samples=12, random_state=0, ax=left)
left.set(title="Generated, a cluster in each row")
ClusterConfusionDisplay.from_estimator(model, digits.images, digits.target, ax=right)
right.set(title="Images by class and cluster")
plt.show()
