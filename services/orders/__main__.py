"""`python -m services.orders` runs this service alone."""

from services.orders.service import SERVICE
from shared.serve import serve

if __name__ == "__main__":
    serve(SERVICE)
