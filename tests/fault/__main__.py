"""`python -m tests.fault` is `make fault`; multiprocessing leaves a module of this name alone in forked processes."""

from tests.fault.random_kills import main

if __name__ == "__main__":
    main()
