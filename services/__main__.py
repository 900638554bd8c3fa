"""The program `basestock`, also `python -m services`."""

import gc

from shared.ctrl_c import end_at_once_on_ctrl_c


def main() -> None:
    """Run the command line; Ctrl-C is heard while that is still being imported, too."""
    end_at_once_on_ctrl_c()
    # What is imported stays: to look for cyclic garbage among it meanwhile takes a fifth of that time.
    gc.set_threshold(50_000, 20, 50)
    from services.command_line import main as run_command_line  # noqa: PLC0415 - this is what takes a second

    run_command_line()


if __name__ == "__main__":
    main()
