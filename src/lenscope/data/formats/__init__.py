"""File formats and how they become arrays: IDX, CIFAR-10, SVHN, pictures."""
