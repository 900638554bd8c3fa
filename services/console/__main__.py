"""`python -m services.console` runs the console alone."""

from shared.ctrl_c import end_at_once_on_ctrl_c

if __name__ == "__main__":
    end_at_once_on_ctrl_c()
    from services.console.service import serve_console  # only now: this is what takes a second
    from shared.logs import configure_logs
    from shared.program import run_to_end, settings_or_exit, stop_on_signals

    settings = settings_or_exit()
    configure_logs(settings)

    async def main() -> None:
        """Until a signal."""
        await serve_console(settings, stop_on_signals())

    run_to_end(main())
