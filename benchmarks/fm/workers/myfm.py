"""myFM: Gibbs sampling, one hyperprior a field."""

from myfm import MyFMRegressor

from benchmarks.fm.workers.task import Answer, Stopwatch, Task, one_hot, rmse, serve, timed, widths


def work(task: Task) -> Answer:
    features, stars = one_hot(task.data, "train")
    machine = MyFMRegressor(rank=task.num_factors, random_seed=task.seed)
    watch = Stopwatch()

    def after_sweep(*_: object) -> tuple[bool, None]:
        watch.lap()
        return False, None

    kept = task.options["kept"]
    _, training = timed(
        lambda: machine.fit(
            features,
            stars,
            n_iter=task.epochs,
            n_kept_samples=kept,
            group_shapes=list(widths(task.data)),
            callback=after_sweep,
        )
    )
    test, test_stars = one_hot(task.data, "test")
    return Answer(watch.laps[1:], training, rmse(machine.predict(test), test_stars))


if __name__ == "__main__":
    serve(work)
