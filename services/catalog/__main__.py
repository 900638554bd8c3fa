"""`python -m services.catalog` runs this service alone."""

from services.catalog.service import SERVICE
from shared.serve import serve

if __name__ == "__main__":
    serve(SERVICE)
