"""PyTorch by hand: embeddings of factors and weights, mini-batches, SparseAdam (lazy Adam)."""

import torch
from torch.nn import Embedding, Parameter, functional, init

from benchmarks.fm.workers.task import Answer, Stopwatch, Task, load, rmse, serve, widths


def work(task: Task) -> Answer:
    torch.set_num_threads(task.threads)
    torch.manual_seed(task.seed)
    features = sum(widths(task.data))
    bias = Parameter(torch.full((1,), 3.5))
    linear = Embedding(features, 1, sparse=True)
    factors = Embedding(features, task.num_factors, sparse=True)
    init.zeros_(linear.weight)
    init.normal_(factors.weight, std=0.01)

    def predict(keys: torch.Tensor) -> torch.Tensor:
        customer, video = factors(keys).unbind(dim=1)
        return bias + linear(keys).sum(dim=(1, 2)) + (customer * video).sum(dim=1)

    rate, size = task.options["learning_rate"], task.options["batch"]
    optimizers = (
        torch.optim.SparseAdam([linear.weight, factors.weight], lr=rate),
        torch.optim.Adam([bias], lr=rate),
    )
    keys, stars = map(torch.from_numpy, load(task.data, "train"))
    watch = Stopwatch()
    for _ in range(task.epochs):
        for start in range(0, len(stars), size):
            batch = slice(start, start + size)
            for optimizer in optimizers:
                optimizer.zero_grad()
            functional.mse_loss(predict(keys[batch]), stars[batch]).backward()
            for optimizer in optimizers:
                optimizer.step()
        watch.lap()
    cpu, wall = (sum(part) for part in zip(*watch.laps, strict=True))
    test, test_stars = load(task.data, "test")
    with torch.no_grad():
        scores = predict(torch.from_numpy(test)).numpy()
    return Answer(watch.laps, (cpu, wall), rmse(scores, test_stars))


if __name__ == "__main__":
    serve(work)
