"""From a distilled set to a trained network; its argument is a run's result/distilled.safetensors."""

import sys

import torch
from sklearn.datasets import load_digits

from engine.distilled import DistilledSet

distilled = DistilledSet.load(sys.argv[1])
network = distilled.network("convnet", seed=0)
optimizer = torch.optim.SGD(network.parameters(), distilled.learning_rate, momentum=0.9, weight_decay=5e-4)
schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [distilled.recipe.decay_epoch], gamma=0.1)
for epoch in range(distilled.recipe.epochs):
    for images, targets in distilled.batches(batch_size=128, seed=epoch):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(images), targets).backward()
        optimizer.step()
    schedule.step()

# The quickstart's test images: the last 40 of each class of scikit-learn's digits, which no stage trained on.
digits = load_digits()
held_out = torch.cat([torch.tensor((digits.target == c).nonzero()[0][-40:]) for c in range(10)])
pixels, labels = torch.tensor(digits.images)[held_out, None] / 16, torch.tensor(digits.target)[held_out]
with torch.no_grad():
    right = network(distilled.preprocess(pixels)).argmax(dim=1) == labels
print(f"test accuracy {100 * right.float().mean():.1f} %")
