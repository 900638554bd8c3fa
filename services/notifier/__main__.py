"""`python -m services.notifier` runs this service alone."""

from services.notifier.service import SERVICE
from shared.serve import serve

if __name__ == "__main__":
    serve(SERVICE)
