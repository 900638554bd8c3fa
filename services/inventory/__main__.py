"""`python -m services.inventory` runs this service alone."""

from services.inventory.service import SERVICE
from shared.serve import serve

if __name__ == "__main__":
    serve(SERVICE)
