import os


def one_blas_thread() -> None:
    """Have numpy multiply on one thread; call it before numpy is imported. A setting of the user's stays.

    The detectors' matrices are small, and BLAS threads wait for one another by spinning: beside the engine
    on two cores, a guard took 55 ms with two threads and 5 with one.
    """
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
        os.environ.setdefault(name, "1")
