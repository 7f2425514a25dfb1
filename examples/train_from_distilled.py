"""From a distilled set to a trained network: the set of a run's result folder, labelled hard, stored or online."""

import sys

import torch
from sklearn.datasets import load_digits

from engine.distilled import DistilledSet, load_teacher

result, labels = sys.argv[1], sys.argv[2]
distilled = DistilledSet.load(f"{result}/distilled.safetensors")
teacher = load_teacher(f"{result}/teacher.safetensors") if labels == "online" else None
training = distilled.training(labels, teacher)
network = distilled.network("convnet", seed=0)
optimizer, schedule = training.optimizer(network)
averaged = training.averaged(network)
for epoch in range(training.epochs):
    for images, targets in training.batches(seed=epoch):
        optimizer.zero_grad()
        training.loss(network(images), targets).backward()
        optimizer.step()
        averaged.update_parameters(network)
    schedule.step()

# The quickstart's test images: the last 40 of each class of scikit-learn's digits, which no stage trained on.
digits = load_digits()
held_out = torch.cat([torch.tensor((digits.target == c).nonzero()[0][-40:]) for c in range(10)])
pixels, classes = torch.tensor(digits.images)[held_out, None] / 16, torch.tensor(digits.target)[held_out]
with torch.no_grad():
    right = averaged(distilled.preprocess(pixels)).argmax(dim=1) == classes
print(f"test accuracy {100 * right.float().mean():.1f} %")
