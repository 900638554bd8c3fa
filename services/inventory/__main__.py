"""`python -m services.inventory` runs this service alone."""

from shared.ctrl_c import end_at_once_on_ctrl_c

if __name__ == "__main__":
    end_at_once_on_ctrl_c()
    from services.inventory.service import SERVICE  # only now: this is what takes a second
    from shared.serve import serve

    serve(SERVICE)
